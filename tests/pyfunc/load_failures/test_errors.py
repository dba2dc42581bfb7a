"""Whatever a model's files and its code run into while it is loaded, the load says it with an error of ours."""

import pickle
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.pyfunc.load_failures.test_damaged_pickles import of_function, of_mlflow
from tiltyard import pyfunc
from tiltyard.errors import InvalidParameterValue, MissingPackage, ModelUnreadable, TiltyardError

# Pickles that are whole, and whose objects cannot be made.
UNMADE: dict[str, tuple[bytes, type[BaseException]]] = {
    "a value refused": (b"cbuiltins\nint\n(Vsecret\ntR.", ValueError),
    "a type refused": (b"cbuiltins\nlen\n(I1\ntR.", TypeError),
    "a name missing": (b"cbuiltins\nabsent_name\n.", AttributeError),
    "a key missing": (b"coperator\ngetitem\n((dVsecret\ntR.", KeyError),
    "a file missing": (b"cbuiltins\nopen\n(V/nowhere/secret\ntR.", FileNotFoundError),
    "the process ended": (b"cbuiltins\nexit\n(tR.", SystemExit),
    "no memory left": (b"cbuiltins\nbytearray\n(L4611686018427387904L\ntR.", MemoryError),
}


@pytest.mark.parametrize("content, cause", UNMADE.values(), ids=UNMADE)
def test_a_pickle_that_cannot_be_made_is_unreadable(content: bytes, cause: type[BaseException], tmp_path: Path) -> None:
    """The error names the file and the class, neither a path nor a value, and has the original as its cause."""
    of_function(tmp_path / "m")
    (file,) = (tmp_path / "m").rglob("model.pkl")
    file.write_bytes(content)
    with pytest.raises(ModelUnreadable, match=rf"'data/model\.pkl' cannot be read \({cause.__name__}\)") as refused:
        pyfunc.load(tmp_path / "m")
    assert isinstance(refused.value.__cause__, cause)
    assert "secret" not in refused.value.message
    assert str(tmp_path) not in refused.value.message


def with_code(folder: Path, code: str) -> Path:
    """A model directory whose loader module is this code of its own."""
    (folder / "code").mkdir()
    (folder / "code" / "own_loader.py").write_text(textwrap.dedent(code))
    flavor = {"loader_module": "own_loader", "code": "code", "data": None}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavor}}))
    return folder


OWN = {
    "raises": "def _load_pyfunc(path): raise KeyError('secret')",
    "raises further down": "import json\n\ndef _load_pyfunc(path): return json.loads('secret')",
    "raises when it is imported": "raise RuntimeError('secret')",
    "is no Python": "def _load_pyfunc(path) return 'secret'",
    "ends the process": "import sys\n\ndef _load_pyfunc(path): sys.exit('secret')",
    "lacks a name": "from json import secret",
}


@pytest.mark.parametrize("code", OWN.values(), ids=OWN)
def test_what_the_own_code_of_a_model_raises_is_said_to_be_its_own(code: str, tmp_path: Path) -> None:
    """It is the model's code that failed, not its file; the traceback is at the cause, the text is not shown."""
    with pytest.raises(InvalidParameterValue, match="its own code failed") as refused:
        pyfunc.load(with_code(tmp_path, code))
    assert not isinstance(refused.value, ModelUnreadable)
    assert refused.value.__cause__ is not None
    assert "secret" not in refused.value.message


def test_a_load_context_that_raises_is_the_models_own_code(tmp_path: Path) -> None:
    """A PythonModel of MLflow that fails in load_context is told like any code of the model."""
    from mlflow import pyfunc as upstream

    class Failing(upstream.PythonModel):
        def load_context(self, context):  # type: ignore[no-untyped-def]
            raise LookupError("secret")

        def predict(self, context, model_input):  # type: ignore[no-untyped-def]
            return model_input

    model = Failing()
    Failing.__module__ = "__main__"
    upstream.save_model(tmp_path / "m", python_model=model, pip_requirements=[])
    with pytest.raises(InvalidParameterValue, match=r"its own code failed \(LookupError\)") as refused:
        pyfunc.load(tmp_path / "m")
    assert "secret" in str(refused.value.__cause__)


def _directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _missing(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("damage", [_directory, _missing])
@pytest.mark.parametrize("name", ["MLmodel", "python_model.pkl"])
def test_a_file_that_is_none_is_said_without_its_path(
    damage: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    """A file that is missing, or that is a directory, is refused by its name in the model."""
    of_mlflow(tmp_path / "m")
    damage(tmp_path / "m" / name)
    with pytest.raises(TiltyardError, match=name) as refused:
        pyfunc.load(tmp_path / "m")
    assert str(tmp_path) not in refused.value.message


def test_a_module_that_a_damaged_pickle_names_is_a_missing_package(tmp_path: Path) -> None:
    """What a pickle names and nobody has may be a package as well as damage: the module is said."""
    of_function(tmp_path / "m")
    (file,) = (tmp_path / "m").rglob("model.pkl")
    file.write_bytes(pickle.dumps(len).replace(b"builtins", b"builtinz"))
    with pytest.raises(MissingPackage, match="builtinz"):
        pyfunc.load(tmp_path / "m")
