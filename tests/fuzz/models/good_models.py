"""Good models of every library that is installed, as their users save them; hostile ones are made of these."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.serving import saved_models
from tiltyard import pyfunc

FRAME = pd.DataFrame({"a": [0.5, -1.0, 2.0, 3.25] * 5, "b": [1.0, 0.0, -1.5, 2.0] * 5})
CLASSES = [0, 1, 1, 0] * 5


def save_all(folder: Path, names: Sequence[str]) -> None:
    """Saves those into directories of their names; what needs a library that is not installed is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            try:
                KINDS[name](folder / name)
            except ImportError:
                continue


def trees(path: Path) -> None:
    """A forest in a skops file."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_estimators=3, max_depth=3).fit(FRAME, CLASSES)
    _save(pyfunc.save_model, forest, path, "scikit-learn")


def pickled(path: Path) -> None:
    """An estimator in a pickle, saved by MLflow."""
    saved_models.mlflow_cloudpickle(path)


def lightgbm(path: Path) -> None:
    """A booster in LightGBM's own text."""
    import lightgbm as library
    import mlflow.lightgbm

    settings = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 1, "num_threads": 1}
    booster = library.train(settings, library.Dataset(FRAME, CLASSES), num_boost_round=3)
    _save(mlflow.lightgbm.save_model, booster, path, "lightgbm")


def lightgbm_estimator(path: Path) -> None:
    """An estimator of LightGBM in a pickle."""
    import lightgbm as library
    import mlflow.lightgbm

    model = library.LGBMRegressor(n_estimators=3, min_child_samples=1, verbose=-1, n_jobs=1).fit(FRAME, CLASSES)
    _save(mlflow.lightgbm.save_model, model, path, "lightgbm", serialization_format="cloudpickle")


def xgboost(path: Path) -> None:
    """An estimator in XGBoost's own file."""
    import mlflow.xgboost
    import xgboost as library

    model = library.XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1).fit(FRAME, CLASSES)
    _save(mlflow.xgboost.save_model, model, path, "xgboost")


def catboost(path: Path) -> None:
    """A classifier in CatBoost's own file."""
    import catboost as library
    import mlflow.catboost

    model = library.CatBoostClassifier(iterations=3, depth=2, verbose=False, allow_writing_files=False, thread_count=1)
    _save(mlflow.catboost.save_model, model.fit(FRAME, CLASSES), path, "catboost")


def onnx(path: Path) -> None:
    """A graph of one product."""
    import mlflow.onnx
    import onnxruntime  # noqa: F401 - without it nothing loads the graph
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.array([[0.5], [2.0]], dtype=np.float32), "w")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", inputs, outputs, [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    _save(mlflow.onnx.save_model, model, path, "onnxruntime")


def statsmodels(path: Path) -> None:
    """Results of a regression."""
    import mlflow.statsmodels
    import statsmodels.api as library

    _save(mlflow.statsmodels.save_model, library.OLS(CLASSES, FRAME).fit(), path, "statsmodels")


def code(path: Path) -> None:
    """A model from a file of code."""
    import mlflow.pyfunc

    file = path.parent.parent / "own_model.py"
    file.write_text(
        "import mlflow\n\n\nclass Own(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input):\n        return model_input['a'] * 2\n\n\n"
        "mlflow.models.set_model(Own())\n"
    )
    mlflow.pyfunc.save_model(path, python_model=str(file), input_example=FRAME[:3], pip_requirements=["pandas"])


def paths(path: Path) -> None:
    """A pickled PythonModel with a file of its own, and with code that comes along."""
    import mlflow.pyfunc

    folder = path.parent.parent / "own_code"
    folder.mkdir()
    (folder / "own_factor.py").write_text("FACTOR = 3\n")
    artifact = path.parent.parent / "offset.txt"
    artifact.write_text("5")

    class Own(mlflow.pyfunc.PythonModel):
        def load_context(self, context: Any) -> None:
            with open(context.artifacts["offset"]) as file:
                self.offset = int(file.read())

        def predict(self, context: Any, model_input: Any) -> Any:
            import own_factor  # type: ignore[import-not-found]

            return model_input["a"] * own_factor.FACTOR + self.offset

    mlflow.pyfunc.save_model(
        path,
        python_model=Own(),
        artifacts={"offset": str(artifact)},
        code_paths=[str(folder / "own_factor.py")],
        pip_requirements=["pandas"],
    )


def _save(save: Callable[..., None], model: Any, path: Path, *requirements: str, **options: Any) -> None:
    save(model, path, input_example=FRAME[:3], pip_requirements=list(requirements), **options)


KINDS: dict[str, Callable[[Path], None]] = {
    kind.__name__: kind
    for kind in (trees, pickled, lightgbm, lightgbm_estimator, xgboost, catboost, onnx, statsmodels, code, paths)
}
# Those whose libraries are imported in no time.
QUICK = ("trees", "lightgbm", "onnx", "code", "paths")
