"""The models that scoring is measured with, saved by MLflow, and bodies for them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 2000
MANY_ROWS = 10_000


def save(name: str, folder: Path) -> tuple[Path, pd.DataFrame, Any]:
    """The directory of a model, the rows that it was fitted on, and the bare estimator."""
    import mlflow

    estimator, rows, target = MODELS[name]()
    estimator.fit(rows, target)
    mlflow.sklearn.save_model(
        estimator,
        folder / name,
        signature=mlflow.models.infer_signature(rows, estimator.predict(rows)),
        input_example=rows[:3],
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return folder / name, rows, estimator


def body(rows: pd.DataFrame) -> bytes:
    """A request for the rows."""
    split = {"columns": list(rows.columns), "data": rows.astype(object).to_numpy().tolist()}
    return json.dumps({"dataframe_split": split}).encode()


def arrow_body(rows: pd.DataFrame) -> bytes:
    """The rows as an Arrow stream."""
    import pyarrow as pa

    table = pa.Table.from_pandas(rows, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _numbers(columns: int, count: int = ROWS) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(random.normal(size=(count, columns)), columns=[f"number_{i}" for i in range(columns)])


def _iris() -> tuple[Any, pd.DataFrame, Any]:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=500), *load_iris(return_X_y=True, as_frame=True)


def _forest() -> tuple[Any, pd.DataFrame, Any]:
    from sklearn.ensemble import RandomForestClassifier

    rows = _numbers(30)
    target = rows["number_0"] + rows["number_1"] * rows["number_2"] > 0
    return RandomForestClassifier(200, random_state=0), rows, target.astype(int)


def _mixed() -> tuple[Any, pd.DataFrame, Any]:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = np.random.default_rng(1).choice(list("abcdef"), size=(ROWS, 4))
    rows = _numbers(12).join(pd.DataFrame(words, columns=[f"word_{i}" for i in range(4)]))
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = [name for name in rows if name.startswith("word")]
    encode = ColumnTransformer([("words", encoder, columns)], remainder="passthrough")
    target = (rows["number_0"] + (rows["word_0"] == "a") > 0).astype(int)
    return make_pipeline(encode, HistGradientBoostingClassifier(random_state=0)), rows, target


def _wide() -> tuple[Any, pd.DataFrame, Any]:
    from sklearn.linear_model import LogisticRegression

    rows = _numbers(600)
    return LogisticRegression(), rows, (rows["number_0"] > 0).astype(int)


def _boosting() -> tuple[Any, pd.DataFrame, Any]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    rows = _numbers(20, MANY_ROWS)
    return HistGradientBoostingRegressor(random_state=0), rows, rows["number_0"] * rows["number_1"]


MODELS = {"boosting": _boosting, "iris": _iris, "forest": _forest, "mixed": _mixed, "wide": _wide}
