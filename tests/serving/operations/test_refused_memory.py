"""What a refused request has taken is free once it is answered, and not only when garbage is collected."""

import gc
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.serving import saved_models
from tests.serving.in_process import running
from tiltyard.telemetry.log_lines import LineFormatter, LogStyle
from tiltyard_serving.scoring.replies import error_reply

# Large enough to be read in a thread.
ROWS = [{"a": [1, 2]}] * 20_000
BODIES = {
    "values that do not fit": {"dataframe_records": ROWS},
    "no known form": {"rows": ROWS},
    "what the model refuses": {"instances": ROWS},
}

_PARQUET = [("content-type", "application/vnd.apache.parquet")]


@contextmanager
def left_behind() -> Iterator[list[object]]:
    """Within the block nothing is collected; after it the list has what only a collection would free."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_refused_request_leaves_nothing_behind(body: object, tmp_path: Path) -> None:
    """Neither the error nor the rows that it was raised for wait for the next collection."""
    saved_models.parametrised(tmp_path / "params")
    saved_models.probabilities(tmp_path / "free")
    sent = json.dumps(body).encode()
    async with running(models=tuple(f"{name}={tmp_path / name}" for name in ("params", "free"))) as app:
        for name in ("params", "free"):
            with left_behind() as found:
                answer = await app.request("POST", f"/serving-endpoints/{name}/invocations", sent)
            assert answer.status in (200, 400)
            assert not [left for left in found if isinstance(left, BaseException)]
            assert len(found) < len(ROWS)


@pytest.mark.parametrize("rows", [4, 400_000], ids=["answered", "refused"])
async def test_a_parquet_file_leaves_nothing_behind(rows: int, tmp_path: Path) -> None:
    """What its footer says of many row groups is as large as a table, in few objects: no collection would come soon."""
    saved_models.probabilities(tmp_path / "free")
    texts = pa.table({name: ["x" * 1000] * rows for name in "ab"})
    pq.write_table(texts, sink := io.BytesIO(), row_group_size=max(1, rows // 100))
    async with running(models=(f"free={tmp_path / 'free'}",)) as app:
        with left_behind() as found:
            answer = await app.request("POST", "/serving-endpoints/free/invocations", sink.getvalue(), _PARQUET)
        assert answer.status == (413 if rows > 4 else 400)
        assert [left for left in found if type(left).__module__.startswith("pyarrow")] == []


def test_an_answered_error_lets_go_of_what_it_was_raised_for() -> None:
    """An error that its own frame holds, and its causes, have no traceback after the answer is made."""

    def fail() -> None:
        rows = [ROWS]
        error: Exception
        try:
            rows[0][0]["b"]
        except KeyError as cause:
            error = ValueError("no rows")
            error.__cause__ = cause
        raise error

    with left_behind() as found:
        try:
            fail()
        except ValueError as error:
            assert error_reply(error).status == 500
    assert not [left for left in found if isinstance(left, BaseException)]


def test_the_log_leaves_out_the_middle_of_what_is_vast() -> None:
    """An error that quotes all that a model was given is a line of bounded length, with its beginning and its end."""
    formatter = LineFormatter(LogStyle())
    try:
        raise ValueError("x" * 10_000_000)
    except ValueError as error:
        record = logging.LogRecord("here", logging.ERROR, __file__, 1, "failed", (), (type(error), error, None))
    line = formatter.format(record)
    assert len(line) < 100_000
    assert "characters left out" in line
