"""The models that scoring is measured with, saved by MLflow, and bodies for them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 2000


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


def _numbers(columns: int) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(random.normal(size=(ROWS, columns)), columns=[f"number_{i}" for i in range(columns)])


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


MODELS = {"iris": _iris, "forest": _forest, "mixed": _mixed, "wide": _wide}
