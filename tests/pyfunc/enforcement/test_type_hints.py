"""Models whose `predict` names the type of its input: every spelling of a hint, and refusals that say why."""

import json
import typing
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow.pyfunc
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.pyfunc.model import _FunctionPythonModel

from tests.pyfunc import peer
from tests.serving.in_process import running
from tiltyard import pyfunc
from tiltyard.errors import InvalidModelInput
from tiltyard.pyfunc.enforcement.type_hints import check_hint, plain_hint

TEXTS = pd.DataFrame({"number": [1, 2], "text": ["a", "b"]})


def save(model: Any, path: Path, signature: Any = None) -> None:
    """A PythonModel as any release of MLflow has pickled it, with the signature's columns."""
    path.mkdir()
    (path / "python_model.pkl").write_bytes(cloudpickle.dumps(model))
    flavor = {"loader_module": "mlflow.pyfunc.model", "python_model": "python_model.pkl"}
    about: dict[str, Any] = {"flavors": {"python_function": flavor}}
    if signature is not None:
        about["signature"] = {"inputs": json.dumps(signature), "outputs": None, "params": None}
    (path / "MLmodel").write_text(json.dumps(about))


def unchecked(function: Any, hint: Any) -> Any:
    """A function with this hint as MLflow saved it before 2.20: without a check around it."""
    function.__annotations__ = {"model_input": hint}
    function._is_pyfunc = True
    return function


def as_function(hint: Any) -> Any:
    def predict(model_input):  # type: ignore[no-untyped-def]
        return [repr(model_input)]

    return _FunctionPythonModel(unchecked(predict, hint))


def as_class(hint: Any) -> Any:
    def predict(self, context, model_input):  # type: ignore[no-untyped-def]
        return [repr(model_input)]

    def simple(self, model_input):  # type: ignore[no-untyped-def]
        return [repr(model_input)]

    chosen = simple if "Dict" in str(hint) else predict
    kind = type("Own", (mlflow.pyfunc.PythonModel,), {"predict": chosen})
    kind.predict = unchecked(chosen, hint)  # type: ignore[attr-defined]  # without the check of today's MLflow
    return kind()


SPELLINGS = {
    "list[str]": list[str],
    "typing list": typing.List[str],  # noqa: UP006 - the spelling is what is tested
    "text": "List[str]",
    "text of typing": "t.List[str]",
    "list of dicts": list[dict[str, str]],
    "typing list of dicts": typing.List[typing.Dict[str, str]],  # noqa: UP006
    "text of dicts": "typing.List[typing.Dict[str, str]]",
    "frame": pd.DataFrame,
    "none": None,
}
UNNAMED = [{"type": "string", "required": True}]
NAMED = [{"type": "long", "name": "number", "required": True}, {"type": "string", "name": "text", "required": True}]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("made", [as_function, as_class])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_hint_means_the_same(tmp_path: Path, made: Any, spelling: str) -> None:
    """A model of before MLflow 2.20 sees the list that MLflow gives it today, however its hint is spelled."""
    for name, signature, data in (
        ("named", NAMED, TEXTS),
        ("unnamed", UNNAMED, pd.DataFrame({0: ["a", "b"]})),
    ):
        path = tmp_path / name
        save(made(SPELLINGS[spelling]), path, signature)
        ours = pyfunc.load(path).predict(data)
        assert ours == peer.mlflow.pyfunc.load_model(str(path)).predict(data)
        if "list" in spelling or "text" in spelling:
            assert ours[0].startswith("[")


def test_a_table_without_texts_is_refused_and_one_without_rows_is_empty(tmp_path: Path) -> None:
    """A list of texts is taken from the first column of texts; there must be one, unless there is no row."""
    save(as_function(typing.List[str]), tmp_path / "m")  # noqa: UP006
    model = pyfunc.load(tmp_path / "m")
    with pytest.raises(InvalidModelInput, match="string column"):
        model.predict(pd.DataFrame({"number": [1]}))
    assert model.predict(TEXTS[:0]) == ["[]"]


@given(st.recursive(st.sampled_from([str, int, float, Any]), lambda inner: inner.map(lambda kind: list[kind])))
def test_a_plain_hint_is_its_own_spelling(hint: Any) -> None:
    """Spelling a hint in built-in types changes no hint that is spelled so, and undoes what typing made of it."""
    assert plain_hint(hint) == hint
    assert plain_hint(typing.List[hint]) == list[hint]  # noqa: UP006
    assert plain_hint(typing.Dict[str, typing.List[hint]]) == dict[str, list[hint]]  # noqa: UP006
    assert plain_hint(typing.Optional[hint]) == typing.Optional[hint]  # noqa: UP045


def test_hints_without_what_they_hold_take_everything() -> None:
    """A bare `list`, in either spelling, is no hint that can be checked: the data passes."""
    for hint in (list, typing.List, dict, typing.Dict):  # noqa: UP006
        assert check_hint([1, "a"], plain_hint(hint)) == [1, "a"]


@given(st.lists(st.integers() | st.floats(allow_nan=False) | st.booleans() | st.text(max_size=2), max_size=4))
def test_whole_numbers_are_floats_where_nothing_is_lost(data: list[Any]) -> None:
    """Where a float is wanted, an integer that a float holds exactly is one; everything else is refused."""

    def fits(value: Any) -> bool:
        return type(value) is float or (type(value) is int and abs(value) <= 2**53)

    if all(map(fits, data)):
        taken = check_hint(data, list[float])
        assert taken == data
        assert all(type(value) is float for value in taken)
    else:
        with pytest.raises(InvalidModelInput, match="Expected type float"):
            check_hint(data, list[float])


CODE = """
import mlflow
from mlflow.pyfunc import PythonModel

class Upper(PythonModel):
    def predict(self, model_input: list[str]) -> list[str]:
        if model_input == ["fail"]:
            raise mlflow.exceptions.MlflowException("a secret")
        return [text.upper() for text in model_input]

mlflow.models.set_model(Upper())
"""


@pytest.mark.filterwarnings("ignore")
async def test_callers_are_told_what_is_wrong_with_their_input(tmp_path: Path) -> None:
    """A hint's refusal names the element, pickled or from code; what a model raises itself is never shown."""
    code = tmp_path / "upper.py"
    code.write_text(CODE)
    mlflow.pyfunc.save_model(tmp_path / "code", python_model=str(code), pip_requirements=[])
    mlflow.pyfunc.save_model(tmp_path / "pickle", python_model=_upper(), pip_requirements=[])
    save(as_function(typing.List[str]), tmp_path / "old", NAMED[:1])  # noqa: UP006
    async with running(models=[f"{name}={tmp_path / name}" for name in ("code", "pickle", "old")]) as app:

        async def told(name: str, body: Any) -> tuple[int, str]:
            answer = await app.request("POST", f"/serving-endpoints/{name}/invocations", body)
            return answer.status, answer.json.get("message", "")

        for name in ("code", "pickle"):
            status, message = await told(name, {"inputs": ["a", 5]})
            assert status == 400
            assert "element 1" in message
            assert "str" in message
            assert "unexpected error" not in message
            assert (await told(name, {"inputs": ["a", "b"]}))[0] == 200
            status, message = await told(name, {"inputs": ["fail"]})
            assert status in (400, 500)
            assert "secret" not in message
        status, message = await told("old", {"dataframe_records": [{"number": 1}]})
        assert status == 400
        assert "string column" in message


def _upper() -> Any:
    class Upper(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, model_input: list[str]) -> list[str]:
            if model_input == ["fail"]:
                raise ValueError("a secret")
            return [text.upper() for text in model_input]

    return Upper()
