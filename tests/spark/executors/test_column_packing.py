"""Columns that travel together are apart again as they were."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

import tiltyard
from tiltyard.spark import score
from tiltyard.spark.executors.column_packing import MIN_COLUMNS, Packing
from tiltyard.spark.scoring.batch_size import MAX_BYTES

TYPES = {"double": pa.float64(), "float": pa.float32(), "bigint": pa.int64(), "int": pa.int32()}
VALUES = {
    "double": st.none() | st.floats(),
    "float": st.none() | st.floats(width=32),
    "bigint": st.none() | st.integers(-(2**63), 2**63 - 1),
    "int": st.none() | st.integers(-(2**31), 2**31 - 1),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[pa.Array]]:
    """Types and columns of a few rows: many of some kinds, few of others, in any order."""
    kinds = draw(st.permutations([kind for kind in VALUES for _ in range(draw(st.sampled_from([0, 1, MIN_COLUMNS])))]))
    rows = draw(st.integers(1, 4))
    columns = [pa.array([draw(VALUES[kind]) for _ in range(rows)], TYPES[kind]) for kind in kinds]
    return list(kinds), columns


@given(tables())
def test_what_is_packed_comes_out_again(table: tuple[list[str], list[pa.Array]]) -> None:
    """Every value to the last bit, nulls as nulls and NaN as NaN, also from the middle of a larger batch."""
    kinds, columns = table
    packing = Packing.of(kinds)
    assert sorted([*packing.alone, *(place for group in packing.groups for place in group)]) == list(range(len(kinds)))
    sent = []
    for places in packing.groups:
        rows = list(zip(*(columns[place].to_pylist() for place in places), strict=True))
        # A row more on both sides, as in a slice.
        kind = pa.list_(TYPES[kinds[places[0]]])
        sent.append(pa.array([rows[0], *rows, rows[0]], kind).slice(1, len(rows)))
    unpacked = packing.unpack([*sent, *(columns[place] for place in packing.alone)])
    assert [array.type for array in unpacked] == [array.type for array in columns]
    assert repr([array.to_pylist() for array in unpacked]) == repr([array.to_pylist() for array in columns])


def test_few_columns_and_other_types_travel_alone() -> None:
    """Texts never, numbers only from some columns on."""
    packing = Packing.of(["string"] * 40 + ["double"] * (MIN_COLUMNS - 1))
    assert (packing.groups, len(packing.alone)) == ((), 40 + MIN_COLUMNS - 1)


@pytest.mark.parametrize("max_bytes", ["64m", str(2**31 - 1)], ids=["measured", "unmeasured"])
def test_a_wide_table_is_scored_like_any_other(spark: Any, tmp_path: Path, max_bytes: str) -> None:
    """Predictions are the model's own, kept columns come back, a missing value is told of; Spark may measure or not."""
    random = np.random.default_rng(7)
    names = [f"x.{i}" for i in range(MIN_COLUMNS + 4)]
    frame = pd.DataFrame(random.normal(size=(500, len(names))), columns=names)
    model = Ridge().fit(frame, frame.sum(axis=1))
    tiltyard.save_model(model, tmp_path / "model", input_example=frame.head(2))
    rows = frame.assign(key=np.arange(500), note="größe")
    rows.loc[7, "x.3"] = None
    before = spark.conf.get(MAX_BYTES)
    spark.conf.set(MAX_BYTES, max_bytes)
    try:
        for keep in (["key"], ["note", "x.3"], [*names, "key"]):
            scored = score(spark.createDataFrame(rows), str(tmp_path / "model"), keep=keep, errors="column").toPandas()
            expected = rows.drop(index=7)
            found = scored[scored["prediction_error"].isna()]
            assert found[keep].to_numpy().tolist() == expected[keep].to_numpy().tolist()
            assert found["prediction"].tolist() == pytest.approx(model.predict(expected[names]).tolist(), rel=1e-12)
            (reason,) = scored["prediction_error"].dropna()
            assert "contains NaN" in reason
    finally:
        spark.conf.set(MAX_BYTES, before)
