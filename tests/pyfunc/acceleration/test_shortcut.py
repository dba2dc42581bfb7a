"""The shorter way through scikit-learn models: the same answers, the same refusals."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tiltyard import pyfunc
from tiltyard.pyfunc import PyFunc
from tiltyard.pyfunc.payload import decoder

RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(RANDOM.normal(size=(200, 4)), columns=["a", "b", "c", "d"])
TARGET = (FRAME["a"] > 0).astype(int)
MIXED = FRAME.assign(word=RANDOM.choice(["x", "y"], len(FRAME)))


class Peculiar(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An author's own estimator: nobody knows what it does with a matrix."""

    def fit(self, rows: Any, target: Any) -> "Peculiar":
        """Learns nothing."""
        self.feature_names_in_ = np.array(rows.columns)
        self.classes_ = np.unique(target)
        return self

    def predict(self, rows: Any) -> Any:
        """One class."""
        return np.zeros(len(rows))


def encoded(last: Any) -> Any:
    """A pipeline that needs column names."""
    return make_pipeline(ColumnTransformer([("word", OneHotEncoder(), ["word"])], remainder="passthrough"), last)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., PyFunc]:
    """Gives a function that gives a model saved with its signature and loaded again."""

    def save(estimator: Any, frame: pd.DataFrame = FRAME, **options: Any) -> PyFunc:
        estimator.fit(frame, TARGET)
        pyfunc.save_model(estimator, tmp_path / "model", input_example=frame[:3], pip_requirements=[], **options)
        return pyfunc.load(tmp_path / "model")

    return save


def split(frame: pd.DataFrame) -> bytes:
    """A request body."""
    import json

    data = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return json.dumps({"dataframe_split": {"columns": list(frame.columns), "data": data}}).encode()


FOREST = {"n_estimators": 20, "random_state": 0}
MATRIX, FRAMES, NONE = "a matrix", "DataFrames", "nothing"
MODELS: dict[str, tuple[Any, pd.DataFrame, str, bool]] = {
    "linear": (LogisticRegression(), FRAME, MATRIX, False),
    "scaled": (make_pipeline(StandardScaler(), LogisticRegression()), FRAME, MATRIX, False),
    "forest": (RandomForestClassifier(**FOREST), FRAME, MATRIX, True),
    "scaled forest": (make_pipeline(StandardScaler(), RandomForestClassifier(**FOREST)), FRAME, MATRIX, True),
    "encoded forest": (encoded(RandomForestClassifier(**FOREST)), MIXED, FRAMES, True),
    "encoded boosting": (encoded(HistGradientBoostingClassifier(max_iter=20, random_state=0)), MIXED, FRAMES, True),
    "encoded linear": (encoded(LogisticRegression()), MIXED, NONE, False),
    # DataFrames for the step after it, so that one knows names.
    "framed": (
        make_pipeline(StandardScaler().set_output(transform="pandas"), LogisticRegression()),
        FRAME,
        NONE,
        False,
    ),
    # Its estimators know the names too.
    "voting": (VotingClassifier([("one", LogisticRegression())], voting="soft"), FRAME, NONE, False),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_the_shorter_way_gives_the_same_answers(
    name: str, method: str, saved: Callable[..., PyFunc], tmp_path: Path
) -> None:
    """For one row, some rows and merged requests; without a warning about names."""
    estimator, frame, takes, has_trees = MODELS[name]
    model = saved(estimator, frame, predict_fn=method)
    plain = pyfunc.load(tmp_path / "model")
    model.take_shortcut(frame[:3], compiled=True)
    shortcut = model.shortcut
    assert (shortcut is not None and shortcut.key is not None) == (takes == MATRIX)
    if has_trees:
        assert shortcut is not None
        assert (shortcut.trees or "").startswith("compiled for up to ")
    requests = [
        decoder.decode(split(frame[start : start + 2]), "application/json", model.signature) for start in (3, 5)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for together in (requests[:1], requests):
            data = model.to_input(together)
            assert isinstance(data, np.ndarray) == (takes == MATRIX)
            answer = model.predict_enforced(data)
            expected = plain.predict_enforced(plain.to_input(together))
            assert (answer.dtype, answer.shape) == (expected.dtype, expected.shape)
            np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3])
def test_refusals_are_the_estimator_s(size: int, saved: Callable[..., PyFunc]) -> None:
    """A null that the estimator refuses is refused on the shorter way too."""
    model = saved(LogisticRegression())
    model.take_shortcut(FRAME[:3], compiled=True)
    rows = FRAME[:size].copy()
    rows.iloc[-1, 2] = np.nan
    request = decoder.decode(split(rows), "application/json", model.signature)
    with pytest.raises(ValueError, match="NaN"):
        model.predict_enforced(model.to_input([request]))


@pytest.mark.parametrize("turned", [True, False])
def test_compiling_can_be_turned_off(turned: bool, saved: Callable[..., PyFunc]) -> None:
    """Then the estimator answers, and the report says why."""
    model = saved(RandomForestClassifier(**FOREST))
    model.take_shortcut(FRAME[:3], compiled=turned)
    assert model.shortcut is not None
    assert (model.shortcut.trees == "not compiled: it is turned off") != turned


def test_other_columns_than_those_of_the_fit_go_as_a_dataframe(saved: Callable[..., PyFunc]) -> None:
    """A signature with another order of the columns proves nothing about the order in a matrix."""
    model = saved(LogisticRegression(), signature=pyfunc.infer_signature(FRAME[["b", "a", "c", "d"]]))
    model.take_shortcut(None, compiled=True)
    assert model.shortcut is None


def test_an_author_s_own_estimator_keeps_its_dataframe(saved: Callable[..., PyFunc]) -> None:
    """Only scikit-learn's own classes are known to take a matrix for a DataFrame."""
    model = saved(Peculiar(), serialization_format="cloudpickle")
    model.take_shortcut(FRAME[:3], compiled=True)
    assert model.shortcut is None


numbers = st.floats(-1e9, 1e9) | st.sampled_from([0.0, -0.0, 1e-300, 2.0**53])


@given(rows=arrays(np.float64, st.tuples(st.integers(1, 5), st.just(4)), elements=numbers))
def test_any_numbers_have_the_estimator_s_answer(rows: Any) -> None:
    """A matrix of any numbers is answered to the last bit as the DataFrame of it."""
    model, shortcut = _linear()
    expected = model.predict_proba(pd.DataFrame(rows, columns=list("abcd")))
    assert shortcut.predict(rows).tobytes() == expected.tobytes()


_kept: list[Any] = []


def _linear() -> Any:
    if not _kept:
        from tiltyard.pyfunc.acceleration.shortcut import find_shortcut

        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TARGET)
        inputs = pyfunc.infer_signature(FRAME).inputs
        _kept.extend([model, find_shortcut(model, "predict_proba", inputs, FRAME[:3], compiled=True)])
    return _kept
