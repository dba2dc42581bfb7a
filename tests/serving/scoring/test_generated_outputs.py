"""Whatever a model returns, the answer is valid JSON: the value, null for what JSON has no number for, or an error."""

import base64
import datetime
import decimal
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.services import Service
from tests.serving.http_calls import score
from tests.serving.saved_models import column, signature
from tiltyard import pyfunc

DTYPES = [
    "float16",
    "float32",
    "float64",
    "int8",
    "uint64",
    "bool",
    "datetime64[ns]",
    "timedelta64[s]",
    "U3",
    "complex64",
]


def _array(dtype: str, numbers: list[int]) -> Any:
    array = np.array(numbers).astype(dtype)
    if array.dtype.kind == "f" and len(array):
        array[0] = np.nan
        array[-1] = np.inf
    return array


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(st.characters(), max_size=5),
    st.binary(max_size=5),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.floats().map(np.float64),
    st.floats(width=32).map(np.float32),
    st.sampled_from(
        [
            pd.NaT,
            pd.NA,
            pd.Timestamp("2024-01-02", tz="UTC"),
            np.int64(3),
            np.bool_(True),
            np.datetime64("NaT"),
            1j,
            {1},
        ]
    ),
    st.sampled_from(
        [decimal.Decimal("sNaN"), datetime.timedelta(1), "\ud800", 10**400, range(3), object, np.void(b"a")]
    ),
)
VALUES = st.recursive(
    SCALARS | st.builds(_array, st.sampled_from(DTYPES), st.lists(st.integers(0, 9), max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.floats() | st.dates(), inner, max_size=3)
        | st.lists(inner, max_size=3).map(lambda cells: pd.Series(cells, dtype=object))
        | st.lists(inner, max_size=3).map(lambda cells: pd.DataFrame({"a": pd.Series(cells, dtype=object), 2: 1.5}))
        | st.lists(inner, min_size=1, max_size=3).map(lambda cells: np.array([*cells, None], dtype=object))
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a model that returns the pickled object it is sent."""
    folder = tmp_path_factory.mktemp("mirror")

    def predict(frame: Any) -> Any:
        return pickle.loads(base64.b64decode(frame["value"].iloc[0]))

    _save(folder / "model", predict)
    service = Service("serving", "--model", f"mirror={folder / 'model'}", log=folder / "serving.log").start()
    yield service
    service.terminate()


def _save(path: Path, predict: Callable[..., Any]) -> None:
    pyfunc.save_model(predict, path, signature=signature([column("value", "string")]), pip_requirements=[])


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(value=VALUES)
def test_every_output_is_valid_json(mirror: Service, value: Any) -> None:
    """NaN, infinities, decimals, dates, bytes and nested values are written strictly; what cannot be is said so."""
    sent = base64.b64encode(pickle.dumps(value)).decode()
    answer = score(mirror.port, {"dataframe_records": [{"value": sent}]})
    if answer.status == 200:
        assert list(answer.json) == ["predictions"]
    else:
        assert answer.status == 500
        assert answer.json["error_code"] == "INTERNAL_ERROR"
        assert re.match(r"The model's output( of type '\w+')? cannot be written as JSON", answer.json["message"])
