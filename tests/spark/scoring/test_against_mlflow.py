"""The same model through `tiltyard.spark_udf` and `mlflow.pyfunc.spark_udf`, in one session: what each hands to the
model, and what each makes of the model's output."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pytest

import tiltyard

# What a model may return for so many rows, and the type that is asked for.
FORMS: dict[str, tuple[str, str]] = {
    "vector": ("np.arange(n) + 0.5", "double"),
    "vector as array": ("np.arange(n) + 0.5", "array<double>"),
    "integers": ("np.arange(n)", "long"),
    "the first integer": ("pd.DataFrame({'p': 0.25, 'n': np.arange(n)})", "long"),
    "small integers": ("np.arange(n, dtype='int32')", "int"),
    "integers as numbers": ("np.arange(n)", "double"),
    "matrix": ("np.arange(3.0 * n).reshape(n, 3)", "array<double>"),
    "left of matrix": ("np.arange(3.0 * n).reshape(n, 3)", "double"),
    "matrix as texts": ("np.arange(2 * n).reshape(n, 2)", "array<string>"),
    "cube": ("np.arange(4.0 * n).reshape(n, 2, 2)", "array<array<double>>"),
    "missing in an array": ("np.where(np.arange(n) % 2, np.nan, 1.0)", "double"),
    "missing in a series": ("pd.Series(np.where(np.arange(n) % 2, np.nan, 1.0))", "double"),
    "missing in a frame": ("pd.DataFrame({'p': np.where(np.arange(n) % 2, np.nan, 1.0)})", "double"),
    "missing in a list": ("[None if i % 2 else 1.0 for i in range(n)]", "double"),
    "missing in arrays": ("[[1.0, None if i % 2 else 2.0] for i in range(n)]", "array<double>"),
    "the first number": ("pd.DataFrame({'label': ['x'] * n, 'flag': True, 'p': 0.25})", "double"),
    "left of dicts": ("[{'label': 'x', 'score': 0.5}] * n", "double"),
    "a dict of one column": ("{'p': np.arange(n) + 0.5}", "double"),
    "texts": ("['a'] * n", "array<string>"),
    "booleans": ("np.arange(n) % 2 == 0", "boolean"),
    "the first boolean": ("pd.DataFrame({'n': np.arange(n), 'flag': True})", "boolean"),
    "a label beside": ("pd.DataFrame({'label': ['x'] * n, 'p0': 0.25, 'p1': 0.75})", "array<double>"),
    "a label as text": ("pd.DataFrame({'label': ['x'] * n, 'p0': 0.25, 'p1': 0.75})", "array<string>"),
    "a frame": ("pd.DataFrame({'b': ['x'] * n, 'a': 0.5, 'c': 'x'})", "a double, b string"),
    "a frame with gaps": ("pd.DataFrame({'a': np.where(np.arange(n) % 2, np.nan, 1), 'b': 'x'})", "a double, b string"),
    "dicts": ("[{'a': i, 'b': 'x'} for i in range(n)]", "a double, b string"),
    "dicts with gaps": ("[{'b': 'x'} if i % 2 else {'a': i, 'b': 'x'} for i in range(n)]", "a double, b string"),
    "models": ("[Answer(a=i, b='x') for i in range(n)]", "a double, b string"),
    "a dict of columns": ("{'a': np.arange(n), 'b': ['x'] * n}", "a double, b string"),
    "nested": ("[dict(NESTED) for i in range(n)]", "NESTED"),
    "nested in columns": ("{name: [value] * n for name, value in NESTED.items()}", "NESTED"),
    "nested in a frame": ("pd.DataFrame([dict(NESTED) for i in range(n)])", "NESTED"),
}  # fmt: skip

NESTED = {
    "s": {"x": 1, "y": [0.5]},
    "list": [{"x": 1}, {"x": 2}],
    "map": {"k": 3},
    "lists": [[1.0], [2.0, 3.0]],
    "array": [0.5, 1.5],
}
NESTED_TYPE = (
    "s struct<x: int, y: array<double>>, list array<struct<x: int>>, map map<string, long>, "
    "lists array<array<double>>, array array<float>"
)


def forms() -> Any:
    nested = NESTED
    told = {name: code for name, (code, _) in FORMS.items()}

    class Forms:  # within the function, so that it travels by value
        def predict(self, model_input: Any) -> Any:
            import numpy as np
            import pandas as pd
            import pydantic

            class Answer(pydantic.BaseModel):
                a: float
                b: str

            known = {"np": np, "pd": pd, "Answer": Answer, "NESTED": nested, "n": len(model_input)}
            return eval(told[model_input.iloc[0, 0]], known)

    return Forms()


# Columns of a row, and their values.
VALUES = {
    "plain": "timestamp'2026-07-01 12:00:00'",
    "times": "array(timestamp'2026-07-01 12:00:00', timestamp'2026-01-01 12:00:00')",
    "of arrays": "array(array(timestamp'2026-07-01 12:00:00'), array(timestamp'2026-07-02 12:00:00'))",
    "of structs": "array(named_struct('at', timestamp'2026-07-01 12:00:00', 'n', 1L))",
    "struct": "named_struct('at', timestamp'2026-07-01 12:00:00', 'in', array(timestamp'2026-07-01 12:00:00'))",
    "map": "map('at', timestamp'2026-07-01 12:00:00')",
    "keys": "map(timestamp'2026-07-01 12:00:00', 1)",
    "without a zone": "array(timestamp_ntz'2026-07-01 12:00:00')",
    "no times": "cast(null as array<timestamp>)",
    "the last time": "array(timestamp'9999-12-31 20:00:00')",
    "days": "array(date'9999-12-31')",
    "day": "date'9999-12-31'",
    "integers": "array(9007199254740993L, null)",
    "integers within": "array(array(1, null), array(2, 3))",
    "small integers": "named_struct('n', array(cast(1 as tinyint), null))",
    "flags": "array(true, null)",
    "numbers": "array(1.5D, null)",
    "decimal": "cast(1.25 as decimal(10, 2))",
    "texts": "array('a', null)",
    "bytes": "array(cast('a' as binary))",
}  # fmt: skip


def echo() -> Any:
    class Echo:  # within the function, so that it travels by value
        def predict(self, model_input: Any) -> list[str]:
            import json

            import numpy as np

            def said(value: Any) -> str:
                if isinstance(value, np.ndarray | list):
                    return f"[{', '.join(map(said, value))}]"
                if isinstance(value, dict):
                    return str({said(key): said(item) for key, item in value.items()})
                return repr(value.item() if isinstance(value, np.generic) else value)

            return [json.dumps({name: said(model_input[name][0]) for name in model_input})]

    return Echo()


@pytest.fixture
def new_york(spark: Any) -> Iterator[None]:
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    yield
    spark.conf.set("spark.sql.session.timeZone", zone)


def both(model: Any, path: Path) -> list[Callable[..., Any]]:
    """What makes a function of the model: ours and theirs."""
    tiltyard.save_model(model, path)
    logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)
    return [
        lambda spark, kind: tiltyard.spark_udf(spark, str(path), kind),
        lambda spark, kind: mlflow.pyfunc.spark_udf(spark, str(path), kind, env_manager="local"),
    ]


def test_every_form_of_output_is_as_with_mlflow(spark: Any, tmp_path: Path):
    """Arrays, lists, series, frames, dicts and what they hold come in the type that was asked for, missing as null."""
    from pyspark.sql import functions

    makers = both(forms(), tmp_path / "model")
    for kind in dict.fromkeys(kind for _, kind in FORMS.values()):
        names = [name for name, (_, own) in FORMS.items() if own == kind]
        asked_for = NESTED_TYPE if kind == "NESTED" else kind
        # Each form in a partition of its own, so in a batch of its own.
        asked = functions.element_at(
            functions.array(*map(functions.lit, names)), (functions.col("id") / 4 + 1).cast("int")
        )
        df = spark.range(0, 4 * len(names), 1, len(names)).select(asked.alias("form"))
        ours, theirs = (
            [
                row.asDict(recursive=True)
                for row in df.select("form", make(spark, asked_for)("form").alias("p")).collect()
            ]
            for make in makers
        )
        assert ours == theirs


def test_every_kind_of_input_is_as_with_mlflow(spark: Any, new_york: None, tmp_path: Path):
    """Times are those of the session's zone at any depth, integers keep their digits beside a null, dates are dates."""
    from pyspark.sql import functions

    df = spark.sql(f"select {', '.join(f'{value} as `{name}`' for name, value in VALUES.items())}").coalesce(1)
    columns = functions.struct(*(functions.col(f"`{name}`") for name in VALUES))
    ours, theirs = (
        json.loads(df.select(make(spark, "string")(columns)).first()[0]) for make in both(echo(), tmp_path / "model")
    )
    assert ours == theirs
