"""Requests are merged only where each part of an answer is proven to belong to its request."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.serving.in_process import running
from tests.serving.saved_models import column, signature, tensor
from tiltyard import pyfunc
from tiltyard.pyfunc import MLModel, PyFunc
from tiltyard.pyfunc.estimators import is_row_wise
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.payload import decoder, output
from tiltyard_serving.batching.batch import Limits
from tiltyard_serving.batching.batcher import Batcher
from tiltyard_serving.models.loaded_model import steps
from tiltyard_serving.warm_up.layout import Layout, layout_of
from tiltyard_serving.warm_up.row_proof import prove

COLUMNS = [column("a", "double"), column("b", "double")]
FRAME = pd.DataFrame(np.random.default_rng(3).normal(size=(60, 2)), columns=["a", "b"])
LABELS = (FRAME["a"] > 0).astype(int)
PAIRS = np.c_[FRAME["a"] > 0, FRAME["b"] > 0].astype(int)


def model(
    predict: Callable[..., Any], inputs: list[dict[str, Any]] | None = COLUMNS, estimator: Any = None, **more: Any
) -> PyFunc:
    """A model that is said to be row-wise."""
    about: dict[str, Any] = {"flavors": {"python_function": {"loader_module": "mlflow.sklearn", **more}}}
    if inputs is not None:
        about["signature"] = signature(inputs).to_dict()
    return PyFunc(MLModel(about), Predictor(predict, estimator, row_wise=True))


def request(rows: Sequence[Sequence[Any]], loaded: PyFunc) -> decoder.Payload:
    body = output.encode(rows).replace(b'"predictions"', b'"dataframe_split":{"columns":["a","b"],"data"')
    return decoder.decode(body + b"}", "application/json", loaded.signature)


async def answers(loaded: PyFunc, layout: Layout | None, rows: Sequence[Sequence[Sequence[float]]]) -> list[bytes]:
    """What the callers get who ask for `rows` while another prediction is under way."""
    batcher = Batcher("m", steps(loaded, layout), Limits(1000, 10_000, 512, 60.0), merging=layout is not None)
    futures = []
    for one in rows:
        item = request(one, loaded)
        futures.append(asyncio.get_running_loop().create_future())
        batcher.submit(futures[-1], item, rows=item.rows, merge_key=item.merge_key)
    try:
        return list(await asyncio.gather(*futures))
    finally:
        batcher.close()


def alone(loaded: PyFunc, rows: Sequence[Sequence[float]]) -> bytes:
    item = request(rows, loaded)
    return output.encode(loaded.predict_enforced(loaded.to_input([item])))


def per_target(frame: Any) -> Any:
    """Probabilities of two targets, as scikit-learn's classifiers of several outputs give them."""
    return [np.c_[frame["a"], frame["b"]], np.c_[frame["b"], frame["a"]]]


def sorted_rows(frame: Any) -> Any:
    return frame.sort_values("a")["b"]


MERGED: dict[str, Callable[[Any], Any]] = {
    "array": lambda frame: frame["a"].to_numpy(),
    "matrix": lambda frame: frame.to_numpy(),
    "texts": lambda frame: np.where(frame["a"] > 0, "up", "falling"),
    "list": lambda frame: frame["a"].tolist(),
    "list of arrays": lambda frame: list(frame.to_numpy()),
    "list of objects": lambda frame: frame.to_dict(orient="records"),
    "objects": lambda frame: np.array([{"x": value} for value in frame["a"]], dtype=object),
    "frame": lambda frame: frame.assign(label=np.where(frame["a"] > 0, "up", "down")),
    "series": lambda frame: frame["a"].rename("score"),
    "mapping": lambda frame: {"p": frame["a"].to_numpy(), "q": frame["b"].tolist()},
    "nested mapping": lambda frame: {"out": {"p": frame["a"].to_numpy()}},
    "masked": lambda frame: np.ma.masked_less(frame["a"].to_numpy(), 0),
    "other index of numbers": lambda frame: frame.set_index(np.arange(len(frame)))["a"],
}
ALONE: dict[str, Callable[[Any], Any]] = {
    "a list per target": per_target,
    "a tuple": lambda frame: tuple(frame["a"]),
    "a mapping per target": lambda frame: dict(enumerate(per_target(frame))) | {"targets": ["x", "y"]},
    "columns of a matrix": lambda frame: frame.to_numpy().T,
    "rows in another order": sorted_rows,
    "rows in another order, numbered anew": lambda frame: sorted_rows(frame).reset_index(drop=True),
    "rows in another order, as an array": lambda frame: np.sort(frame["a"].to_numpy()),
    "rows left out": lambda frame: frame[frame["a"] > 0],
    "one value": lambda frame: float(frame["a"].sum()),
    "one value for each": lambda frame: [float(frame["a"].mean())] * len(frame),
    "a text": lambda frame: "x" * len(frame),
    "a generator": lambda frame: iter(frame["a"]),
    "one row is no list": lambda frame: np.squeeze(frame["a"].to_numpy()),
    "columns of the batch": lambda frame: pd.get_dummies(frame["a"].round().astype(int)),
    "kinds of the batch": lambda frame: frame["a"].where(frame["a"] > 0, None).astype("category"),
    "by size": lambda frame: frame["a"].to_numpy() * (2 if len(frame) > 2 else 1),
    "by place": lambda frame: frame["a"].to_numpy() + np.arange(len(frame)),
    "another index": lambda frame: frame.set_index("b"),
    "a random number": lambda frame: np.random.default_rng(0).random(len(frame)),
}


@pytest.mark.parametrize("name", MERGED)
async def test_what_is_proven_to_lie_in_rows_is_merged(name: str) -> None:
    """Each caller gets their rows of a merged answer, in every container whose rows were proven at load."""
    calls: list[int] = []

    def predict(frame: Any) -> Any:
        calls.append(len(frame))
        return MERGED[name](frame)

    loaded = model(predict)
    layout = prove(loaded, None)
    assert layout is not None
    rows = [[[float(number), -1.5]] * (1 + number % 3) for number in range(-4, 6)]
    calls.clear()
    given = await answers(loaded, layout, rows)
    assert len(calls) < len(rows)
    assert given == [alone(loaded, one) for one in rows]


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("with_example", [False, True], ids=["generated", "example"])
def test_what_cannot_be_proven_is_predicted_alone(name: str, with_example: bool) -> None:
    """An answer whose parts need not be those of the callers is never taken apart, whatever its length."""
    loaded = model(ALONE[name])
    example = request([[0.5, 2.0], [-1.0, 3.0]], loaded) if with_example else None
    assert prove(loaded, example) is None


@pytest.mark.parametrize("total", [2, 3, 4])
async def test_probabilities_of_several_targets_stay_with_their_callers(total: int) -> None:
    """A classifier of two targets answers with a list of two arrays, which is no list of two callers."""
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.neighbors import KNeighborsClassifier

    fitted = MultiOutputClassifier(KNeighborsClassifier(5)).fit(FRAME, PAIRS)
    loaded = model(fitted.predict_proba, estimator=fitted, predict_fn="predict_proba")
    rows = [[FRAME.iloc[number].tolist()] for number in range(total)]
    expected = [alone(loaded, one) for one in rows]
    assert await answers(loaded, prove(loaded, None), rows) == expected


async def test_a_layout_that_turns_up_later_is_not_taken_apart() -> None:
    """A model that answers otherwise than it did when it was loaded is asked again for each caller, and not merged."""

    def predict(frame: Any) -> Any:
        if (frame["a"] == 1e6).any():
            return [frame["a"].to_numpy(), frame["b"].to_numpy()]
        return frame["a"].tolist()

    loaded = model(predict)
    layout = prove(loaded, None)
    assert layout is not None
    rows = [[[1e6, 1.0]], [[2.0, 3.0]]]
    assert await answers(loaded, layout, rows) == [alone(loaded, one) for one in rows]


async def test_one_caller_does_not_change_the_kind_of_anothers_number() -> None:
    """A null that makes an array of integers one of floats does so for the caller who sent it, and nobody else."""

    def predict(frame: Any) -> Any:
        return frame["a"].round().to_numpy() if frame["a"].isna().any() else frame["a"].round().astype(int).to_numpy()

    loaded = model(predict, [column("a", "double", required=False), column("b", "double")])
    layout = prove(loaded, None)
    assert layout is not None
    rows = [[[1.0, 1.0]], [[float("nan"), 1.0]]]
    assert await answers(loaded, layout, rows) == [b'{"predictions":[1]}', b'{"predictions":[null]}']


@pytest.mark.parametrize(
    ("whole", "counts", "expected"),
    [
        (np.arange(6), [1, 2, 3], [[0], [1, 2], [3, 4, 5]]),
        (np.arange(4), [0, 4, 0], [[], [0, 1, 2, 3], []]),
        (list("abc"), [2, 1], [["a", "b"], ["c"]]),
        ({"p": np.arange(2), "q": list("ab")}, [1, 1], [{"p": [0], "q": ["a"]}, {"p": [1], "q": ["b"]}]),
    ],
)
def test_parts_are_the_rows_in_order(whole: Any, counts: list[int], expected: Any) -> None:
    """An output is taken apart by the numbers of rows, of which some may be none."""
    layout = layout_of(whole, sum(counts))
    assert layout is not None
    parts = layout.split(whole, counts)
    assert parts is not None
    assert [output.to_jsonable(part) for part in parts] == expected
    assert layout.split(whole, [*counts, 1]) is None


def test_an_example_that_only_it_knows_proves_its_rows() -> None:
    """Where generated rows are refused, and none can be made, the example alone shows how rows lie."""

    def predict(frame: Any) -> Any:
        assert set(frame["kind"]) <= {"red", "blue"}
        return [len(kind) for kind in frame["kind"]]

    loaded = model(predict, [column("kind", "string")])
    body = b'{"dataframe_split":{"columns":["kind"],"data":[["red"],["blue"]]}}'
    example = decoder.decode(body, "application/json", loaded.signature)
    assert prove(loaded, None) is None
    assert prove(loaded, example) is not None


def test_tensors_and_estimators_without_a_signature_are_proven_too() -> None:
    """Rows are generated by the shape of a tensor, and by what an estimator was fitted on."""
    from sklearn.linear_model import LogisticRegression

    assert prove(model(lambda array: array.sum(axis=(1, 2)), [tensor("float32", [-1, 2, 2])]), None) is not None
    assert prove(model(lambda array: array.sum(axis=0), [tensor("float32", [-1, 2, 2])]), None) is None
    assert prove(model(lambda array: array, [tensor("float32", [-1, -1])]), None) is None
    fitted = LogisticRegression().fit(FRAME, LABELS)
    assert prove(model(fitted.predict_proba, None, fitted), None) is not None
    assert prove(model(lambda data: data, None), None) is None


def first_of(values: Any) -> Any:
    return values - values[0]


def own(distances: Any) -> Any:
    return distances / distances.max()


def test_which_estimators_answer_each_row_by_itself() -> None:
    """Random estimators, those that look at all rows, and those that hold somebody's function are told apart."""
    from sklearn.decomposition import NMF
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next import work
    from sklearn.impute import IterativeImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    class Own(LogisticRegression):
        pass

    plain = LogisticRegression()
    replaced = LogisticRegression()
    replaced.predict = first_of
    searched = GridSearchCV(make_pipeline(StandardScaler(), plain), {"logisticregression": [Own()]}, cv=2)
    stratified = DummyClassifier(strategy="stratified", random_state=0)
    row_wise = [
        plain,
        make_pipeline(StandardScaler(), RandomForestClassifier(3)),
        make_pipeline(FunctionTransformer(np.arctan), plain),
        VotingClassifier([("a", plain), ("b", KNeighborsClassifier())]),
        GridSearchCV(plain, {"C": [1.0]}, cv=2, scoring=lambda *_: 0.5),
        DummyClassifier(),
    ]
    others = [
        Own(),
        replaced,
        stratified,
        DummyClassifier(strategy="uniform"),
        make_pipeline(StandardScaler(), stratified),
        StackingClassifier([("a", stratified)], plain, cv=2),
        make_pipeline(IterativeImputer(sample_posterior=True, max_iter=1), plain),
        make_pipeline(FunctionTransformer(first_of), plain),
        make_pipeline(FunctionTransformer(np.abs), NMF(1), LinearRegression()),
        KNeighborsClassifier(weights=own),
        searched,
    ]
    fitted = FRAME.to_numpy()
    assert [is_row_wise(each.fit(fitted, LABELS)) for each in row_wise] == [True] * len(row_wise)
    assert [is_row_wise(each.fit(fitted, LABELS)) for each in others] == [False] * len(others)


async def test_a_model_that_fails_for_its_example_is_served_and_says_so(tmp_path: Path) -> None:
    """What is wrong with an example, or with what it needs, does not keep a model from its callers."""

    def predict(frame: Any) -> Any:
        if (frame["a"] == 7).any():
            raise ConnectionError("the service is down")
        return frame["a"].to_numpy()

    pyfunc.save_model(predict, tmp_path / "m", input_example=pd.DataFrame({"a": [7.0]}), pip_requirements=[])
    async with running(models=(f"m={tmp_path / 'm'}",), cache_dir=str(tmp_path / "cache")) as app:
        asked = await app.request("POST", "/serving-endpoints/m/invocations", {"dataframe_records": [{"a": 2.0}]})
        assert asked.json == {"predictions": [2.0]}
        (state,) = (await app.request("GET", "/api/tiltyard/v1/models")).json["models"]
        assert "ConnectionError" in state["warning"]
        assert "down" not in state["warning"]
