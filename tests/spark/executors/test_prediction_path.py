"""The bare matrix gives what the DataFrame gives, and bad rows leave the good ones alone. Without Spark."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import tiltyard
from tiltyard import pyfunc
from tiltyard.spark.executors import prediction_path as route_room
from tiltyard.spark.executors.arrow_columns import Arguments
from tiltyard.spark.executors.prediction_path import PredictionPath
from tiltyard.spark.executors.row_errors import RowErrors

RANDOM = np.random.default_rng(5)
FRAME = pd.DataFrame(RANDOM.normal(size=(300, 12)), columns=[f"x {i}" for i in range(12)])
FLAG = (FRAME.sum(axis=1) > 0).astype(int)


def saved(model: Any, path: Path, frame: pd.DataFrame = FRAME) -> pyfunc.PyFunc:
    tiltyard.save_model(model, path, signature=pyfunc.infer_signature(frame, model.predict(frame)))
    return pyfunc.load(path)


def arrays_of(frame: pd.DataFrame) -> list[pa.Array]:
    return [pa.array(frame[name], from_pandas=True) for name in frame.columns]


def route_of(model: pyfunc.PyFunc, digest: str) -> PredictionPath:
    assert model.signature is not None
    return PredictionPath(model, Arguments(model.signature.inputs, time_zone="UTC"), None, digest=digest)


@pytest.mark.parametrize(
    ("estimator", "bare"),
    [
        (LogisticRegression(), True),
        (Ridge(), True),
        (RandomForestRegressor(n_estimators=5), True),
        (HistGradientBoostingClassifier(max_iter=5), True),
        (make_pipeline(StandardScaler(), Ridge()), True),
        # It picks its columns by name, so it needs the DataFrame.
        (make_pipeline(make_column_transformer((StandardScaler(), ["x 3", "x 5"])), Ridge()), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_bare_matrix_is_used_where_it_gives_the_same_bits(estimator: Any, bare: bool, tmp_path: Path):
    """The first batch decides; later ones are equal to the last bit, and nothing warns of missing names."""
    model = saved(estimator.fit(FRAME, FLAG), tmp_path / "model")
    route = route_of(model, str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in (FRAME[:100], FRAME[100:101], FRAME[101:]):
            # Sums over another memory layout may round otherwise: the reference is the frame that Arrow makes.
            frame = pa.Table.from_arrays(arrays_of(part), names=list(part.columns)).to_pandas()
            assert route(arrays_of(part)).tobytes() == model.predict(frame).tobytes()
    assert route_room.matrix_agrees[str(tmp_path)] is bare


def test_a_long_beside_doubles_is_not_rounded(tmp_path: Path):
    """Integers above 2**53 would change in a matrix of doubles, so the model gets the DataFrame."""
    frame = pd.DataFrame({"id": [2**53, 2**53 + 1] * 5, "x": np.arange(10.0)})
    encoder = make_column_transformer((OneHotEncoder(sparse_output=False), [0]), remainder="passthrough")
    model = saved(make_pipeline(encoder, Ridge(alpha=1e-6)).fit(frame, [0, 1] * 5), tmp_path / "model", frame)
    route = route_of(model, str(tmp_path))
    assert route(arrays_of(frame)).tobytes() == model.predict(frame).tobytes()
    assert str(tmp_path) not in route_room.matrix_agrees


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["good", "nan", "null", "unknown", "gap"]), min_size=1, max_size=60))
def test_only_bad_rows_lose_their_prediction(rows: list[str]):
    """Whatever bad rows lie where, the good ones are predicted as alone, and each bad one has its own reason."""
    cells = {"good": (1.5, 7), "nan": (float("nan"), 7), "null": (2.5, None), "unknown": (-1.0, 7), "gap": (None, None)}
    columns = list(zip(*(cells[row] for row in rows), strict=True))
    arrays = [pa.array(columns[0], pa.float64()), pa.array(columns[1], pa.int64())]

    def predict(parts: Any) -> pa.Array:
        numbers = parts[0].to_numpy(zero_copy_only=False)
        if parts[1].null_count:
            raise ValueError("Can not safely convert float64 to int64.")
        if np.isnan(numbers).any():
            raise ValueError("Input X contains NaN.")
        if (numbers < 0).any():
            raise ValueError(f"unknown among {len(numbers)}")
        return pa.array(numbers * 2)

    values, reasons = RowErrors(predict, pa.float64(), refuses_missing_alike=True)(arrays)
    expected = {
        "good": (3.0, None),
        "nan": (None, "Input X contains NaN."),
        "null": (None, "Can not safely convert float64 to int64."),
        "unknown": (None, "unknown among 1"),
        "gap": (None, "Can not safely convert float64 to int64."),
    }
    assert list(zip(values.to_pylist(), reasons.to_pylist(), strict=True)) == [expected[row] for row in rows]


def test_bad_rows_that_miss_the_same_values_cost_few_predictions():
    """A hundred rows with NaN in the same place among ten thousand are told by a handful of tries."""
    numbers = np.arange(10_000.0)
    numbers[::100] = np.nan
    calls = []

    def predict(parts: Any) -> pa.Array:
        calls.append(len(parts[0]))
        if np.isnan(parts[0].to_numpy()).any():
            raise ValueError("Input X contains NaN.")
        return parts[0]

    values, _ = RowErrors(predict, pa.float64(), refuses_missing_alike=True)([pa.array(numbers)])
    assert values.null_count == 100
    assert len(calls) == 4


def test_what_was_refused_once_is_not_tried_in_later_batches():
    """After a batch told that rows without a value are refused, later batches cost one try, over the good rows."""
    calls = []

    def predict(parts: Any) -> pa.Array:
        calls.append(len(parts[0]))
        if np.isnan(parts[0].to_numpy()).any():
            raise ValueError("Input X contains NaN.")
        return parts[0]

    salvage = RowErrors(predict, pa.float64(), refuses_missing_alike=True)
    batch = pa.array([1.0, float("nan"), 3.0, float("nan")])
    first = [part.to_pylist() for part in salvage([batch])]
    calls.clear()
    assert [part.to_pylist() for part in salvage([batch])] == first
    assert first[0] == [1.0, None, 3.0, None]
    assert calls == [2]
    assert [part.null_count for part in salvage([pa.array([5.0, 6.0])])] == [0, 2]
    assert calls == [2, 2]


def test_a_missing_package_is_not_the_fault_of_a_row():
    """What no row could change ends the job under every policy."""
    from tiltyard.errors import MissingPackage

    def predict(parts: Any) -> pa.Array:
        raise MissingPackage("install it")

    with pytest.raises(MissingPackage):
        RowErrors(predict, pa.float64(), refuses_missing_alike=True)([pa.array([1.0, 2.0])])
