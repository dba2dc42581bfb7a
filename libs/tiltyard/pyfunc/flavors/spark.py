"""Spark MLlib pipelines, on one Spark session that the whole process shares.

Where a session is active, as on the driver of a job, it is used. Else a local one of a single core is started when
the first such model is loaded, and ends with the process. In a Python worker of Spark that is one Java per worker,
as upstream does it: there, `pipeline.transform` on the driver is the better way.

Source: mlflow/spark/__init__.py (_load_pyfunc, _PyFuncModelWrapper) at v3.17.2.
"""

import atexit
import os
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from tiltyard.errors import InvalidModelInput, MissingPackage, ResourceDoesNotExist
from tiltyard.java import java_home
from tiltyard.pyfunc.data_types import Array
from tiltyard.pyfunc.flavors import Predictor
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.schema import ColSpec, Schema
from tiltyard.uri import contain

PREDICTION = "prediction"
_CONNECT = "pyspark.ml.connect."

# A session for a few rows at a time: nothing is spread, planned anew or shown.
_LOCAL = {
    "spark.default.parallelism": "1",
    "spark.driver.host": "127.0.0.1",
    "spark.executor.allowSparkContext": "true",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
# Stages of these answer each row by itself, and keep their order.
_ROW_WISE = ("pyspark.ml.feature", "pyspark.ml.classification", "pyspark.ml.regression")
_ACROSS_ROWS = {"SQLTransformer"}

_starting = threading.Lock()


def load(directory: Path, metadata: MLModel) -> Predictor:
    """The predictor of a pipeline: a list of what its column `prediction` holds. It takes DataFrames."""
    path = contain(directory, str(metadata.pyfunc.get("data") or ""), parameter="data")
    if not path.is_dir():
        raise ResourceDoesNotExist("The model's directory of Spark files is missing ('data').")
    kind = str(metadata.flavors.get("spark", {}).get("model_class") or "")
    if kind.startswith(_CONNECT):
        module, _, name = kind.rpartition(".")
        connected = getattr(import_module(module), name).loadFromLocal(str(path))
        # Its transform adds a column to the very frame.
        return Predictor(lambda data: connected.transform(data.copy(deep=False))[PREDICTION], connected)
    session = _session()
    pipeline = _read(path)
    signature = metadata.signature
    outputs = None if signature is None else signature.outputs
    served = _Pipeline(session, pipeline, None if signature is None else signature.inputs, outputs)
    return Predictor(served.predict, pipeline, row_wise=_is_row_wise(pipeline))


class _Pipeline:
    """A pipeline and the session it runs on, as something that predicts."""

    def __init__(self, session: Any, pipeline: Any, inputs: Schema | None, outputs: Schema | None) -> None:
        self._session = session
        self._pipeline = pipeline
        self._inputs = () if inputs is None else tuple(filter(_is_vector, inputs.columns))
        self._gives_vector = outputs is not None and any(map(_is_vector, outputs.columns))
        self._named = False

    def predict(self, data: Any) -> list[Any]:
        """The predictions, one for each row that the pipeline keeps.

        Raises:
            InvalidModelInput: the input is no DataFrame.
        """
        from pyspark.ml.functions import array_to_vector, vector_to_array

        if not isinstance(data, pd.DataFrame):
            raise InvalidModelInput(f"Expected a DataFrame, got {type(data).__name__}.")
        vectors = [str(data.columns[0] if spec.name is None else spec.name) for spec in self._inputs]
        if vectors:
            lists: dict[str, Any] = {name: [list(map(float, row)) for row in data[name]] for name in vectors}
            data = data.assign(**lists)
        rows = self._session.createDataFrame(data)
        for name in vectors or self._arrays_for_features(rows):
            rows = rows.withColumn(name, array_to_vector(rows[name]))
        found = self._transformed(rows).select(PREDICTION)
        if self._gives_vector:
            found = found.withColumn(PREDICTION, vector_to_array(found[PREDICTION]))
        return [row[0] for row in found.collect()]

    def _transformed(self, rows: Any) -> Any:
        found = self._pipeline.transform(rows)
        stages = getattr(self._pipeline, "stages", [self._pipeline])
        if not self._named and PREDICTION not in found.columns and stages and stages[-1].hasParam("outputCol"):
            # A pipeline that ends in a transformer predicts what that puts out.
            stages[-1].setOutputCol(PREDICTION)
            found = self._pipeline.transform(rows)
        self._named = True
        return found

    def _arrays_for_features(self, rows: Any) -> list[str]:
        """The column of features of the last stage, where it holds arrays of doubles, as logged examples do."""
        from pyspark.sql.types import ArrayType, DoubleType

        stages = getattr(self._pipeline, "stages", [self._pipeline])
        if not stages or not stages[-1].hasParam("featuresCol"):
            return []
        name = stages[-1].getOrDefault("featuresCol")
        kinds = {field.name: field.dataType for field in rows.schema.fields}
        kind = kinds.get(name)
        return [name] if isinstance(kind, ArrayType) and isinstance(kind.elementType, DoubleType) else []


def _session() -> Any:
    """The process's session, started if there is none. Raises: MissingPackage: there is no pyspark, or no Java."""
    java: MissingPackage | None = None
    try:
        home = java_home()
    except MissingPackage as error:
        java = error
    try:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        if java is None:
            raise
        raise MissingPackage(f"The model needs pyspark: pip install 'tiltyard[spark]'. {java}") from error
    if java is not None:
        raise java
    with _starting:
        if SparkContext._active_spark_context is not None or "SPARK_REMOTE" in os.environ:
            return SparkSession.builder.getOrCreate()
        os.environ["JAVA_HOME"] = str(home)
        builder = SparkSession.builder.appName("tiltyard").master("local[1]")
        for key, value in _LOCAL.items():
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        atexit.register(session.stop)
        return session


def _read(path: Path) -> Any:
    from pyspark.ml import PipelineModel

    return PipelineModel.load(f"file://{path.absolute()}")


def _is_vector(spec: ColSpec) -> bool:
    return isinstance(spec.type, Array) and spec.type.spark_vector


def _is_row_wise(pipeline: Any) -> bool:
    return all(
        type(stage).__module__ in _ROW_WISE and type(stage).__name__ not in _ACROSS_ROWS
        for stage in getattr(pipeline, "stages", [pipeline])
    )
