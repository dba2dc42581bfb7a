"""Model directories: what is saved is loaded again, by Tiltyard without MLflow and by MLflow itself."""

import importlib
import json
import pickle
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.pyfunc import peer
from tests.pyfunc.specs import to_input
from tiltyard import pyfunc
from tiltyard.environments import files
from tiltyard.errors import (
    BadRequest,
    InvalidParameterValue,
    MissingPackage,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceDoesNotExist,
)
from tiltyard.pyfunc.payload import decoder

FRAME = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 0.0, 1.0, 0.5]})
LABEL = [0, 0, 1, 1]


def estimators() -> dict[str, Any]:
    """Fitted estimators, some of which skops alone does not trust."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    found = {
        "logistic": LogisticRegression(),
        "ridge": Ridge(),
        "forest": RandomForestClassifier(n_estimators=3, random_state=1),
        "boosting": HistGradientBoostingClassifier(max_iter=3),
        "neighbours": KNeighborsClassifier(n_neighbors=2),
        "vectors": SVC(),
        "pipeline": make_pipeline(make_column_transformer((StandardScaler(), ["x", "y"])), LogisticRegression()),
    }
    return {name: estimator.fit(FRAME, LABEL) for name, estimator in found.items()}


ESTIMATORS = ["logistic", "ridge", "forest", "boosting", "neighbours", "vectors", "pipeline"]


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("serialization_format", [None, "skops", "cloudpickle", "pickle"])
def test_estimators_come_back_in_every_format(tmp_path: Path, name: str, serialization_format: Any) -> None:
    """Every format predicts as the estimator does, here and, with the sklearn flavor, in MLflow."""
    estimator = estimators()[name]
    pyfunc.save_model(estimator, tmp_path / "m", input_example=FRAME, serialization_format=serialization_format)
    loaded = pyfunc.load(tmp_path / "m")
    expected = estimator.predict(FRAME)
    assert np.array_equal(loaded.predict(FRAME), expected)
    assert loaded.row_wise
    assert np.array_equal(peer.mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(FRAME), expected)
    import mlflow.sklearn

    assert np.array_equal(mlflow.sklearn.load_model(str(tmp_path / "m")).predict(FRAME), expected)


def test_skops_is_the_default_and_a_custom_class_is_pickled(tmp_path: Path) -> None:
    """An estimator that skops cannot hold safely is saved with cloudpickle without being asked."""
    from sklearn.linear_model import LogisticRegression

    class Own(LogisticRegression):
        pass

    pyfunc.save_model(LogisticRegression().fit(FRAME, LABEL), tmp_path / "plain")
    pyfunc.save_model(Own().fit(FRAME, LABEL), tmp_path / "own")
    formats = [
        pyfunc.load(tmp_path / name).metadata.flavors["sklearn"]["serialization_format"] for name in ("plain", "own")
    ]
    assert formats == ["skops", "cloudpickle"]
    assert not pyfunc.load(tmp_path / "own").row_wise, "an author's own class is not known to be row-wise"


def test_probabilities(tmp_path: Path) -> None:
    """`predict_fn` chooses the method that predicts; one the estimator lacks is refused."""
    estimator = estimators()["logistic"]
    pyfunc.save_model(estimator, tmp_path / "m", predict_fn="predict_proba", input_example=FRAME)
    assert np.array_equal(pyfunc.load(tmp_path / "m").predict(FRAME), estimator.predict_proba(FRAME))
    with pytest.raises(InvalidParameterValue, match="predict_proba"):
        pyfunc.save_model(estimators()["ridge"], tmp_path / "n", predict_fn="predict_proba")


def double(model_input: Any) -> Any:
    return model_input["x"] * 2


class Scaled:
    """Holds state, takes params."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        return model_input["x"] * self.factor + (params or {}).get("plus", 0)


@pytest.mark.parametrize("model", [double, Scaled(2.0)], ids=["function", "object"])
def test_python_models_come_back(tmp_path: Path, model: Any) -> None:
    """A function or an object with `predict` is loaded by us and by MLflow."""
    pyfunc.save_model(model, tmp_path / "m", input_example=FRAME)
    for loaded in (pyfunc.load(tmp_path / "m"), peer.mlflow.pyfunc.load_model(str(tmp_path / "m"))):
        assert list(loaded.predict(FRAME)) == [0.0, 2.0, 4.0, 6.0]


def test_params_reach_the_model(tmp_path: Path) -> None:
    """Declared params have their defaults, take what is given, and refuse what does not fit."""
    pyfunc.save_model(Scaled(1.0), tmp_path / "m", input_example=(FRAME, {"plus": 10}))
    loaded = pyfunc.load(tmp_path / "m")
    assert list(loaded.predict(FRAME)) == [10.0, 11.0, 12.0, 13.0]
    assert list(loaded.predict(FRAME, {"plus": 1})) == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(InvalidParameterValue, match="plus"):
        loaded.predict(FRAME, {"plus": "much"})


WITHOUT_MLFLOW = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
import pandas as pd
from tiltyard import pyfunc
frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0.0, 1.0]})
for path in sys.argv[1:]:
    print(list(pyfunc.load(path).predict(frame)))
"""


def test_what_mlflow_saves_loads_without_mlflow(tmp_path: Path) -> None:
    """PythonModels, models from code, estimators and own loader modules of MLflow load where it is not installed."""
    import mlflow
    import mlflow.sklearn

    class Plus(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def load_context(self, context: Any) -> None:
            self.offset = float(Path(context.artifacts["offset"]).read_text())

        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return [float(value) + self.offset for value in model_input["x"]]

    (tmp_path / "offset.txt").write_text("1.5")
    offset = {"offset": str(tmp_path / "offset.txt")}
    mlflow.pyfunc.save_model(tmp_path / "python", python_model=Plus(), artifacts=offset, pip_requirements=[])
    code = tmp_path / "from_code.py"
    code.write_text(
        textwrap.dedent(
            """
            import mlflow
            from mlflow.pyfunc import PythonModel

            class FromCode(PythonModel):
                def predict(self, context, model_input, params=None):
                    return [float(value) * 10 for value in model_input["x"]]

            mlflow.models.set_model(FromCode())
            """
        )
    )
    mlflow.pyfunc.save_model(tmp_path / "code", python_model=str(code), pip_requirements=[])
    mlflow.sklearn.save_model(
        estimators()["pipeline"], tmp_path / "skops", serialization_format="skops", pip_requirements=[]
    )
    mlflow.sklearn.save_model(
        estimators()["forest"], tmp_path / "pickle", serialization_format="cloudpickle", pip_requirements=[]
    )
    loader = tmp_path / "own_loader.py"
    loader.write_text(
        "class M:\n    def predict(self, data):\n        return list(data['y'])\n\n\n"
        "def _load_pyfunc(path):\n    return M()\n"
    )
    mlflow.pyfunc.save_model(
        tmp_path / "loader", loader_module="own_loader", code_paths=[str(loader)], pip_requirements=[]
    )
    names = ["python", "code", "skops", "pickle", "loader"]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_MLFLOW, *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answers = run.stdout.splitlines()
    assert answers[0] == "[2.5, 3.5]"
    assert answers[1] == "[10.0, 20.0]"
    assert answers[4] == "[0.0, 1.0]"
    assert len(answers) == len(names)


def test_an_mlmodel_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    """Unknown keys survive reading and writing; the YAML is read without constructing objects."""
    pyfunc.save_model(double, tmp_path / "m")
    path = tmp_path / "m" / "MLmodel"
    written = yaml.safe_load(path.read_text()) | {"resources": {"api_version": "1"}, "of_the_future": [1]}
    path.write_text(yaml.safe_dump(written))
    described = pyfunc.MLModel.load(tmp_path / "m")
    described.save(tmp_path / "m")
    assert yaml.safe_load(path.read_text()) == written
    path.write_text("flavors: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InvalidParameterValue):
        pyfunc.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, ResourceDoesNotExist),
        ("flavors: {}\n", ResourceDoesNotExist),
        ("[1, 2\n", InvalidParameterValue),
        ("flavors: {python_function: {loader_module: no_such_module_here}}\n", MissingPackage),
        ("flavors: {python_function: {loader_module: mlflow.sklearn, model_path: ../../x}}\n", InvalidParameterValue),
        ("flavors: {python_function: {loader_module: x}}\nmetadata: {mlflow.model.isExternal: true}\n", BadRequest),
    ],
)
def test_a_directory_that_is_no_model_says_why(tmp_path: Path, text: str | None, error: type[Exception]) -> None:
    """No MLmodel, no flavor, broken YAML, a missing package, a path that leads out: each is one clear error."""
    if text is not None:
        (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(error):
        pyfunc.load(tmp_path)


def test_a_missing_package_names_what_to_install(tmp_path: Path) -> None:
    """The error of an absent package names it, and says how to get it."""
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: no_such_loader_xyz}}\n")
    (tmp_path / "requirements.txt").write_text("no-such-loader-xyz==1.2\n")
    with pytest.raises(MissingPackage, match=r"pip install 'no-such-loader-xyz==1\.2'"):
        pyfunc.load(tmp_path)


def test_a_model_cannot_widen_the_list_of_trusted_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types that a skops file's own MLmodel calls trusted are refused; the operator's list counts."""
    import skops.io

    pyfunc.save_model(estimators()["logistic"], tmp_path / "m")
    model = estimators()["logistic"]
    model.planted = Scaled(1.0)
    skops.io.dump(model, tmp_path / "m" / "model.skops")
    path = tmp_path / "m" / "MLmodel"
    fields = yaml.safe_load(path.read_text())
    name = f"{Scaled.__module__}.Scaled"
    fields["flavors"]["sklearn"]["skops_trusted_types"] = [name]
    path.write_text(yaml.safe_dump(fields))
    with pytest.raises(PermissionDenied, match="TILTYARD_SKOPS_TRUSTED_TYPES"):
        pyfunc.load(tmp_path / "m")
    monkeypatch.setenv("TILTYARD_SKOPS_TRUSTED_TYPES", name)
    assert pyfunc.load(tmp_path / "m").model.planted.factor == 1.0


class _Exploding:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_in_skops_clothing_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that says skops and is a pickle is refused without running it."""
    monkeypatch.chdir(tmp_path)
    pyfunc.save_model(estimators()["logistic"], tmp_path / "m")
    (tmp_path / "m" / "model.skops").write_bytes(pickle.dumps(_Exploding()))
    with pytest.raises(InvalidParameterValue):
        pyfunc.load(tmp_path / "m")
    assert not Path("exploded").exists()


def test_saving_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    """A full directory, a thing that cannot predict and an unknown format are refused with a reason."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ResourceAlreadyExists):
        pyfunc.save_model(double, tmp_path / "full")
    with pytest.raises(InvalidParameterValue, match="Cannot save a int"):
        pyfunc.save_model(7, tmp_path / "seven")
    with pytest.raises(InvalidParameterValue, match="joblib"):
        pyfunc.save_model(estimators()["ridge"], tmp_path / "m", serialization_format="joblib")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "example",
    [FRAME, FRAME.to_numpy(), {"x": [1.0, 2.0]}, [{"x": 1.0}, {"x": 2.0}], ["a", "b"]],
    ids=["frame", "array", "columns", "records", "texts"],
)
def test_input_examples_are_saved_and_are_requests(tmp_path: Path, example: Any) -> None:
    """The saved example comes back, and its serving form is a body that the decoder accepts."""
    pyfunc.save_model(lambda model_input: [1.0] * len(model_input), tmp_path / "m", input_example=example)
    loaded = pyfunc.load(tmp_path / "m")
    assert loaded.input_example() is not None
    body = (tmp_path / "m" / "serving_input_example.json").read_bytes()
    assert json.loads(body).keys() <= {"dataframe_split", "inputs", "params"}
    one = decoder.decode(body, "application/json", loaded.signature)
    loaded.predict_enforced(to_input([one]))


def test_what_is_installed_meanwhile_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that comes once models have been saved is named by the next one, also in its next release."""
    place = tmp_path / "packages"
    place.mkdir()
    monkeypatch.setattr(sys, "path", [str(place)])
    assert files.requirements_of_modules({"newcomer.parts"}) == []
    for release, folder in (("1.0", "newcomer-1.0.dist-info"), ("1.1", "newcomer-1.1.dist-info")):
        for old in place.glob("*.dist-info"):
            shutil.rmtree(old)
        (place / folder).mkdir()
        (place / folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: newcomer\nVersion: {release}\n")
        (place / folder / "top_level.txt").write_text("newcomer\n")
        importlib.invalidate_caches()
        assert files.requirements_of_modules({"newcomer.parts"}) == [f"newcomer=={release}"]
    shutil.rmtree(place)
    place.mkdir()
    importlib.invalidate_caches()
    assert files.requirements_of_modules({"newcomer.parts"}) == []


def test_the_files_are_those_that_users_know(tmp_path: Path) -> None:
    """Environment files and MLmodel stand beside the model, as upstream writes them."""
    pyfunc.save_model(estimators()["logistic"], tmp_path / "m", input_example=FRAME)
    assert {path.name for path in (tmp_path / "m").iterdir()} == {
        *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "model.skops"),
        *("input_example.json", "serving_input_example.json"),
    }
    assert "scikit-learn==" in (tmp_path / "m" / "requirements.txt").read_text()
