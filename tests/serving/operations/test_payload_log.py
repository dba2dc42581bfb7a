"""The payload log: what is sampled is written whole, redacted, and never waited for."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.fixtures.waiting import wait_until
from tests.serving.in_process import running
from tests.serving.saved_models import IRIS, SETOSA, constant
from tiltyard.errors import InvalidParameterValue, TemporarilyUnavailable
from tiltyard.storage import open_store
from tiltyard_serving.operations.payload_log import WAITING, Folder, PayloadLog, Sink, open_sink
from tiltyard_serving.operations.redaction import Redaction

SPLIT = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}


async def test_requests_and_answers_are_written(tmp_path: Path) -> None:
    """Each answered request is one row with its id, version, latency, and bodies without the redacted column.

    What callers send is for the owner of the service alone.
    """
    constant(tmp_path / "one", 1)
    log = tmp_path / "log"
    settings = {"models": (f"default={tmp_path / 'one'}",), "payload_log_dir": str(log)}
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
    assert not [path for path in (log, *log.iterdir()) if path.stat().st_mode & 0o077]


async def test_nothing_is_written_by_default(tmp_path: Path) -> None:
    """Without a directory there is no log; a sample of none keeps none."""
    constant(tmp_path / "one", 1)
    model = f"default={tmp_path / 'one'}"
    async with running(models=(model,), payload_log_dir=str(tmp_path / "log"), payload_log_sample=0.0) as app:
        assert (await app.request("POST", "/invocations", SPLIT)).status == 200
    assert list((tmp_path / "log").iterdir()) == []


def test_what_is_too_much_is_dropped_and_counted(tmp_path: Path) -> None:
    """A full log refuses at once; what it kept is written."""
    dropped: list[int] = []
    log = PayloadLog(Folder(tmp_path), sample=1.0, redact=frozenset(), dropped=lambda: dropped.append(1))
    for _ in range(WAITING + 5):
        log.offer("m", "1", 0.001, None, None, b"{}", b"x" * 2_000_000)
    assert len(dropped) == 5
    log.start()
    log.close()
    rows = pd.read_parquet(tmp_path)
    assert len(rows) == WAITING
    assert rows["answer"].isna().all()


def offer(log: PayloadLog, count: int, answer: bytes = b"{}") -> None:
    for _ in range(count):
        log.offer("m", "1", 0.001, None, None, b"{}", answer)


class Shelf:
    """Files as they come; while it is `broken`, none are kept."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.broken = False

    def open(self) -> None:
        """Nothing."""

    def put(self, name: str, data: bytes) -> None:
        if self.broken:
            raise TemporarilyUnavailable("the store does not answer")
        self.files.append(data)

    @property
    def rows(self) -> list[int]:
        """How many each file holds."""
        return [len(pd.read_parquet(io.BytesIO(data))) for data in self.files]


def logged(sink: Sink, dropped: list[int], **options: Any) -> PayloadLog:
    return PayloadLog(sink, sample=1.0, redact=frozenset(), dropped=lambda: dropped.append(1), **options)


def test_what_waits_is_bounded_in_bytes() -> None:
    """Few large bodies fill the log as many small ones do; what was written makes room again."""
    dropped: list[int] = []
    log = logged(shelf := Shelf(), dropped, roll_s=0.01, waiting_bytes=1000)
    offer(log, 5, b"x" * 300)
    assert len(dropped) == 2
    log.start()
    wait_until(lambda: shelf.files)
    offer(log, 1, b"x" * 300)
    log.close()
    assert sum(shelf.rows) == 4
    assert len(dropped) == 2


def test_files_are_closed_by_records_bytes_and_time() -> None:
    """A file ends with so many records, so many bytes, or so many seconds after its first."""
    log = logged(shelf := Shelf(), [], roll_s=30, file_records=3)
    offer(log, 7)
    log.start()
    log.close()
    assert shelf.rows == [3, 3, 1]
    log = logged(shelf := Shelf(), [], roll_s=30, file_bytes=1000)
    offer(log, 3, b"x" * 600)
    log.start()
    log.close()
    assert shelf.rows == [2, 1]
    log = logged(shelf := Shelf(), [], roll_s=0.05)
    log.start()
    offer(log, 1)
    wait_until(lambda: shelf.files)
    log.close()
    assert shelf.rows == [1]


def test_a_store_that_is_away_costs_payloads_and_nothing_else() -> None:
    """What cannot be written is dropped and counted; later files are written again."""
    dropped: list[int] = []
    log = logged(shelf := Shelf(), dropped, roll_s=0.01)
    shelf.broken = True
    log.start()
    offer(log, 3)
    wait_until(lambda: len(dropped) == 3)
    shelf.broken = False
    offer(log, 2)
    log.close()
    assert sum(shelf.rows) == 2


async def test_payloads_go_to_an_object_store(tmp_path: Path, s3_uri: str) -> None:
    """A URI names a prefix of a bucket; nothing but whole files is there."""
    constant(tmp_path / "one", 1)
    place = f"{s3_uri}/payloads"
    async with running(models=(f"default={tmp_path / 'one'}",), payload_log_dir=place) as app:
        for _ in range(3):
            assert (await app.request("POST", "/invocations", SPLIT)).status == 200
    store = open_store(place)
    [entry] = [entry async for entry in store.list("")]
    data = b"".join([chunk async for chunk in store.get(entry.path)])
    assert list(pd.read_parquet(io.BytesIO(data))["answer"]) == [b'{"predictions":[1]}'] * 3


def test_an_unknown_store_is_refused() -> None:
    """A URI that no store serves is refused at the start."""
    with pytest.raises(InvalidParameterValue, match="No artifact store serves 'ftp://'"):
        open_sink("ftp://somewhere")


async def test_the_open_inference_protocol_is_written_too(tmp_path: Path) -> None:
    """Requests under `/v2/` are rows like the others, without the data of redacted tensors."""
    constant(tmp_path / "one", 1)
    settings = {"models": (f"default={tmp_path / 'one'}",), "payload_log_dir": str(tmp_path / "log")}
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.5]} for name in IRIS]
    async with running(**settings, payload_log_redact=(IRIS[1],)) as app:
        assert (await app.request("POST", "/v2/models/default/infer", {"inputs": inputs})).status == 200
    [row] = pd.read_parquet(tmp_path / "log").to_dict(orient="records")
    assert [one["data"] for one in json.loads(row["request"])["inputs"]] == [[1.5], None, [1.5], [1.5]]
    assert json.loads(row["answer"])["outputs"][0]["data"] == [1]
    assert row["latency_ms"] > 0


def tensor(name: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": "FP64", "data": data}


SECRET: dict[str, tuple[Any, Any]] = {
    "split": (
        {"dataframe_split": {"columns": ["a", "b"], "data": [["s", 1]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[None, 1]]}},
    ),
    "records": ({"dataframe_records": [{"a": "s", "b": 1}]}, {"dataframe_records": [{"a": None, "b": 1}]}),
    "inputs": ({"inputs": {"a": ["s"], "b": [1]}}, {"inputs": {"a": None, "b": [1]}}),
    "nested": ({"instances": [{"b": {"a": "s"}}]}, {"instances": [{"b": {"a": None}}]}),
    "unnamed split": ({"dataframe_split": {"data": [["s", 1]]}}, None),
    "flat split": ({"dataframe_split": {"columns": ["a"], "data": ["s"]}}, None),
    "short row": ({"dataframe_split": {"columns": ["b", "a"], "data": [["s"]]}}, None),
    "unnamed rows": ({"instances": [["s", 1]]}, None),
    "a list": (["s"], None),
    "tensor": (
        {"inputs": [tensor("a", [1], ["s"]), tensor("b", [1, 1], [1])]},
        {"inputs": [tensor("a", [1], None), tensor("b", [1, 1], [1])]},
    ),
    "tensor of columns": ({"inputs": [tensor("all", [1, 2], ["s", 1])]}, None),
    "another protocol's key": (
        {"model_name": "m", "inputs": [tensor("a", [1], ["s"])]},
        {"inputs": [tensor("a", [1], None)]},
    ),
    "an answer's key": (
        {"predictions": ["s"], "dataframe_records": [{"a": "s"}]},
        {"dataframe_records": [{"a": None}]},
    ),
    "an answer's key beside unnamed rows": ({"predictions": ["s"], "instances": [["s", 1]]}, None),
    "row labels": (
        {"dataframe_split": {"columns": ["b"], "index": ["s"], "data": [[1]]}},
        {"dataframe_split": {"columns": ["b"], "data": [[1]]}},
    ),
    "params": ({"inputs": {"b": [1]}, "params": {"q": "s"}}, {"inputs": {"b": [1]}}),
    "parameters": (
        {"inputs": [{**tensor("b", [1], [1]), "parameters": {"x": "s"}}], "parameters": {"q": "s"}, "id": "s"},
        {"inputs": [tensor("b", [1], [1])]},
    ),
    "a long row": ({"dataframe_split": {"columns": ["b"], "data": [[1, "s"]]}}, None),
    "two forms": ({"inputs": {"a": ["s"]}, "instances": [{"b": 1}]}, None),
}


@pytest.mark.parametrize(("body", "expected"), SECRET.values(), ids=SECRET)
def test_redaction(body: Any, expected: Any) -> None:
    """A redacted value never stays, whatever keys are beside it; a body that does not name its columns is left out."""
    found = Redaction(frozenset({"a"})).request(json.dumps(body).encode())
    assert (None if found is None else json.loads(found)) == expected


ANSWERS: dict[str, tuple[Any, Any]] = {
    "named": ({"predictions": [{"a": "s"}]}, {"predictions": [{"a": None}]}),
    "other keys": ({"predictions": [1], "more": "s"}, {"predictions": [1]}),
    "repeated": ({"predictions": [["secret", 1]]}, {"predictions": [[None, 1]]}),
    "within a text": ({"predictions": ["hello secret!", "hello"]}, {"predictions": [None, "hello"]}),
    "as a name": ({"predictions": [{"secret": 1, "b": 2}]}, {"predictions": [{"b": 2}]}),
    "a number": ({"predictions": [123456789, 1]}, {"predictions": [None, 1]}),
    "output": (
        {"model_name": "m", "outputs": [tensor("a", [1], ["s"]), tensor("b", [1], ["secret"])]},
        {"model_name": "m", "outputs": [tensor("a", [1], None), tensor("b", [1], [None])]},
    ),
    "neither": ({"error": "secret"}, None),
}


@pytest.mark.parametrize(("answer", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_answers_that_repeat_what_was_redacted(answer: Any, expected: Any) -> None:
    """What a request had in a redacted column is not written as part of its answer either."""
    redaction = Redaction(frozenset({"a"}))
    assert redaction.request(b'{"dataframe_records": [{"a": "secret"}, {"a": {"b": [123456789]}}, {"a": 1}]}')
    found = redaction.answer(json.dumps(answer).encode())
    assert (None if found is None else json.loads(found)) == expected


@pytest.mark.parametrize("body", [b"a,b\ns,1", b"\xff", b"{", b"[" * 5000, None])
def test_what_is_no_json_cannot_be_redacted(body: bytes | None) -> None:
    """It is left out."""
    redaction = Redaction(frozenset({"a"}))
    assert redaction.request(body) is None
    assert redaction.answer(body) is None


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Removing the directory costs at most what was in it; what comes later is written."""
    folder = Folder(tmp_path / "log")
    folder.open()
    folder.put("one", b"1")
    (tmp_path / "log" / "one").unlink()
    (tmp_path / "log").rmdir()
    folder.put("two", b"2")
    assert (tmp_path / "log" / "two").read_bytes() == b"2"


def test_a_full_disk_keeps_no_beginnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that could not be written whole leaves nothing behind."""
    folder = Folder(tmp_path)

    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(path), None, str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        folder.put("one", b"12345678")
    assert list(tmp_path.iterdir()) == []
