"""The payload log: what is sampled is written whole, redacted, and never waited for."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.serving.in_process import running
from tests.serving.models import IRIS, SETOSA, constant
from tiltyard_serving.payload_log import WAITING, PayloadLog, redacted

SPLIT = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}


async def test_requests_and_answers_are_written(tmp_path: Path) -> None:
    """Each answered request is one row with its id, version, latency, and bodies without the redacted column."""
    constant(tmp_path / "one", 1)
    log = tmp_path / "log"
    settings = {"models": (f"default={tmp_path / 'one'}",), "payload_log_dir": log}
    async with running(**settings, payload_log_redact=(IRIS[1],)) as app:
        for number in range(40):
            headers = [("x-request-id", f"call-{number}")]
            assert (await app.request("POST", "/invocations", SPLIT, headers)).status == 200
        assert (await app.request("POST", "/invocations", b"{")).status == 400
    rows = pd.read_parquet(log)
    assert sorted(rows["request_id"]) == sorted(f"call-{number}" for number in range(40))
    assert set(rows["model"]) == {"default"}
    assert (rows["latency_ms"] > 0).all()
    assert json.loads(rows["request"][0])["dataframe_split"]["data"] == [[SETOSA[0], None, *SETOSA[2:]]]
    assert json.loads(rows["answer"][0]) == {"predictions": [1]}
    assert not list(log.glob(".*"))


async def test_nothing_is_written_by_default(tmp_path: Path) -> None:
    """Without a directory there is no log; a sample of none keeps none."""
    constant(tmp_path / "one", 1)
    model = f"default={tmp_path / 'one'}"
    async with running(models=(model,), payload_log_dir=tmp_path / "log", payload_log_sample=0.0) as app:
        assert (await app.request("POST", "/invocations", SPLIT)).status == 200
    assert list((tmp_path / "log").iterdir()) == []


def test_what_is_too_much_is_dropped_and_counted(tmp_path: Path) -> None:
    """A full log refuses at once; what it kept is written."""
    dropped: list[int] = []
    log = PayloadLog(tmp_path, sample=1.0, redact=frozenset(), dropped=lambda: dropped.append(1))
    for _ in range(WAITING + 5):
        log.offer("m", "1", 0.001, None, None, b"{}", b"x" * 2_000_000)
    assert len(dropped) == 5
    log.start()
    log.close()
    rows = pd.read_parquet(tmp_path)
    assert len(rows) == WAITING
    assert rows["answer"].isna().all()


SECRET: dict[str, tuple[Any, Any]] = {
    "split": (
        {"dataframe_split": {"columns": ["a", "b"], "data": [["s", 1]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[None, 1]]}},
    ),
    "records": ({"dataframe_records": [{"a": "s", "b": 1}]}, {"dataframe_records": [{"a": None, "b": 1}]}),
    "inputs": ({"inputs": {"a": ["s"], "b": [1]}}, {"inputs": {"a": None, "b": [1]}}),
    "nested": ({"instances": [{"b": {"a": "s"}}]}, {"instances": [{"b": {"a": None}}]}),
    "answer": ({"predictions": [{"a": "s"}]}, {"predictions": [{"a": None}]}),
    "unnamed split": ({"dataframe_split": {"data": [["s", 1]]}}, None),
    "flat split": ({"dataframe_split": {"columns": ["a"], "data": ["s"]}}, None),
    "short row": ({"dataframe_split": {"columns": ["b", "a"], "data": [["s"]]}}, None),
    "unnamed rows": ({"instances": [["s", 1]]}, None),
    "a list": (["s"], None),
}


@pytest.mark.parametrize(("body", "expected"), SECRET.values(), ids=SECRET)
def test_redaction(body: Any, expected: Any) -> None:
    """A redacted value never stays; a body that does not name its columns is left out."""
    found = redacted(json.dumps(body).encode(), frozenset({"a"}))
    assert (None if found is None else json.loads(found)) == expected


@pytest.mark.parametrize("body", [b"a,b\ns,1", b"\xff", b"{", None])
def test_what_is_no_json_cannot_be_redacted(body: bytes | None) -> None:
    """It is left out."""
    assert redacted(body, frozenset({"a"})) is None
