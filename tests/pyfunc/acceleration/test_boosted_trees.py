"""XGBoost and LightGBM models as MLflow saves them: loaded without MLflow, with its predictions."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost

from tiltyard import pyfunc
from tiltyard.errors import InvalidParameterValue, PermissionDenied, ResourceDoesNotExist
from tiltyard.pyfunc.acceleration.boosted_trees import compile_boosted

_random = np.random.default_rng(0)
X = pd.DataFrame(_random.normal(size=(300, 5)), columns=list("abcde"))
X.iloc[::7, 2] = np.nan
TWO = (X.a + X.b * X.d > 0).astype(int)
THREE = np.digitize(X.a + X.b, [-1, 1])
QUIET = {"verbose": -1}


def _matrix(label: Any) -> Any:
    return xgboost.DMatrix(X, label)


def _train(objective: str, label: Any, **more: Any) -> Any:
    return xgboost.train({"objective": objective, **more}, _matrix(label), 20)


def _light(objective: str, label: Any, **more: Any) -> Any:
    return lightgbm.train({"objective": objective, **QUIET, **more}, lightgbm.Dataset(X, label), 20)


MODELS: dict[str, Callable[[], Any]] = {
    "xgboost binary": lambda: _train("binary:logistic", TWO),
    "xgboost softprob": lambda: _train("multi:softprob", THREE, num_class=3),
    "xgboost regression": lambda: _train("reg:squarederror", X.a),
    "xgboost classifier": lambda: xgboost.XGBClassifier(n_estimators=20).fit(X, TWO),
    "xgboost classifier of three": lambda: xgboost.XGBClassifier(n_estimators=20).fit(X, THREE),
    "xgboost regressor": lambda: xgboost.XGBRegressor(n_estimators=20).fit(X, X.a),
    "lightgbm binary": lambda: _light("binary", TWO),
    "lightgbm multiclass": lambda: _light("multiclass", THREE, num_class=3),
    "lightgbm regression": lambda: _light("regression", X.a),
    "lightgbm classifier": lambda: lightgbm.LGBMClassifier(n_estimators=20, **QUIET).fit(X, THREE),
    "lightgbm classifier, cloudpickle": lambda: lightgbm.LGBMClassifier(n_estimators=20, **QUIET).fit(X, TWO),
    "lightgbm regressor": lambda: lightgbm.LGBMRegressor(n_estimators=20, **QUIET).fit(X, X.a),
}

# The others differ in the last digit of a probability: they answer by themselves.
COMPILED = {
    *("xgboost regression", "xgboost regressor", "xgboost classifier", "xgboost classifier of three"),
    *("lightgbm binary", "lightgbm multiclass", "lightgbm regression", "lightgbm regressor"),
    *("lightgbm classifier", "lightgbm classifier, cloudpickle"),
}

_LOAD = """
import sys
sys.modules["mlflow"] = None
import numpy as np, pandas as pd
from tiltyard import pyfunc
rows = pd.read_parquet(sys.argv[1])
for folder in sys.argv[2:]:
    np.save(folder + ".npy", pyfunc.load(folder).predict(rows))
"""


def save(name: str, path: Path) -> None:
    """Saves a model of `MODELS` with MLflow."""
    model = MODELS[name]()
    answer = model.predict(_matrix(None) if isinstance(model, xgboost.Booster) else X)
    flavor = mlflow.xgboost if name.startswith("xgboost") else mlflow.lightgbm
    options = {"serialization_format": "cloudpickle"} if "cloudpickle" in name else {}
    signed = mlflow.models.infer_signature(X.fillna(0.0), answer)
    flavor.save_model(model, str(path), signature=signed, input_example=X[:5], pip_requirements=["x"], **options)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directories of `MODELS`."""
    root = tmp_path_factory.mktemp("boosted")
    paths = {name: root / str(number) for number, name in enumerate(MODELS)}
    for name, path in paths.items():
        save(name, path)
    return paths


def test_predictions_are_those_of_mlflow(saved: dict[str, Path], tmp_path: Path) -> None:
    """Every kind of model, loaded in a process without MLflow, gives bit for bit what `mlflow.pyfunc` gives."""
    X.to_parquet(tmp_path / "rows")
    folders = [str(path) for path in saved.values()]
    subprocess.run([sys.executable, "-c", _LOAD, str(tmp_path / "rows"), *folders], check=True, env=dict(os.environ))
    for name, folder in saved.items():
        expected = np.asarray(mlflow.pyfunc.load_model(str(folder)).predict(X))
        given = np.load(f"{folder}.npy")
        assert (given.dtype, given.shape) == (expected.dtype, expected.shape), name
        assert given.tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("name", MODELS)
def test_a_shorter_way_gives_the_same(saved: dict[str, Path], name: str) -> None:
    """However a model is answered when it is served, classes and numbers stay those of the model itself."""
    model, served = pyfunc.load(saved[name]), pyfunc.load(saved[name])
    served.take_shortcut(served.enforce(X[:5]), compiled=True)
    assert served.shortcut is not None
    assert str(served.shortcut.trees).startswith("compiled for up to " if name in COMPILED else "not compiled: ")
    for rows in (X[:1], X[1:2], X[:7], X):
        expected, given = np.asarray(model.predict(rows)), np.asarray(served.predict(rows))
        assert given.dtype == expected.dtype
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-12)
        else:
            assert given.tolist() == expected.tolist()


def test_trees_that_split_at_zero_are_compiled() -> None:
    """LightGBM reads the smallest numbers as zero, and the compiled trees do the same."""
    rows = np.random.default_rng(0).integers(-3, 5, (60, 3)).astype(float)
    model = lightgbm.LGBMRegressor(n_estimators=10, **QUIET).fit(rows, rows[:, 0])
    assert compile_boosted(model, model.booster_.feature_name()).max_rows > 0


def test_compiling_can_be_turned_off(saved: dict[str, Path]) -> None:
    """Without compiling the model answers by itself, and it is said why."""
    served = pyfunc.load(saved["xgboost regressor"])
    served.take_shortcut(served.enforce(X[:5]), compiled=False)
    assert served.shortcut is not None
    assert served.shortcut.trees == "not compiled: it is turned off"
    assert served.predict(X[:3]).tolist() == pyfunc.load(saved["xgboost regressor"]).predict(X[:3]).tolist()


@pytest.mark.parametrize("name", ["xgboost binary", "lightgbm binary"])
def test_a_broken_file_is_refused(saved: dict[str, Path], tmp_path: Path, name: str) -> None:
    """A file that is missing, or is no model, is named as what is wrong."""
    import shutil

    shutil.copytree(saved[name], tmp_path / "broken")
    [file] = (tmp_path / "broken").glob("model.*")
    file.write_bytes(b"no model\n")
    by_whom = r"the file 'model\.ubj' cannot be read \(XGBoostError\)|The LightGBM model is damaged: .*'tree'"
    with pytest.raises(InvalidParameterValue, match=by_whom):
        pyfunc.load(tmp_path / "broken")
    file.unlink()
    with pytest.raises(ResourceDoesNotExist, match="is missing"):
        pyfunc.load(tmp_path / "broken")


def test_a_skops_file_holds_trusted_types_alone(saved: dict[str, Path], tmp_path: Path) -> None:
    """What the MLmodel file itself declares to be trusted is not."""
    import shutil

    import skops.io

    shutil.copytree(saved["lightgbm regressor"], tmp_path / "odd")
    [file] = (tmp_path / "odd").glob("model.skops")
    skops.io.dump(subprocess.Popen, file)
    about = tmp_path / "odd" / "MLmodel"
    about.write_text(about.read_text().replace("- collections.OrderedDict", "- subprocess.Popen"))
    with pytest.raises(PermissionDenied, match="not trusted"):
        pyfunc.load(tmp_path / "odd")
