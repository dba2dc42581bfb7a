"""Sampled requests and their answers as Parquet files, written by a thread that no request waits for."""

import logging
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

WAITING = 2000
FILE_RECORDS = 10_000
FLUSH_S = 5.0
MAX_BODY_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


class Record(NamedTuple):
    """One request and its answer. A body that is too large, or cannot be redacted, is None."""

    time_ms: int
    request_id: str
    model: str
    version: str
    latency_ms: float
    content_type: str | None
    request: bytes | None
    answer: bytes | None


class PayloadLog:
    """Keeps a share of what `offer` gets; what is too much to keep is dropped and counted."""

    def __init__(
        self, directory: Path, *, sample: float, redact: frozenset[str], dropped: Callable[[], object]
    ) -> None:
        self._directory = directory
        self._sample = sample
        self._redact = redact
        self._dropped = dropped
        self._waiting: queue.Queue[Record | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="payload log", daemon=True)

    def start(self) -> None:
        """Makes the directory and begins to write. Raises: OSError if it cannot be made."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def offer(
        self,
        model: str,
        version: str,
        seconds: float,
        request_id: str | None,
        content_type: str | None,
        body: bytes,
        answer: bytes,
    ) -> None:
        """Keeps it, if it is in the sample and there is room. Never waits."""
        if random.random() >= self._sample:  # noqa: S311 - samples, guards nothing
            return
        now_ms = time.time_ns() // 1_000_000
        kept = [None if len(data) > MAX_BODY_BYTES else data for data in (body, answer)]
        named = request_id or uuid.uuid4().hex
        try:
            self._waiting.put_nowait(Record(now_ms, named, model, version, seconds * 1e3, content_type, *kept))
        except queue.Full:
            self._dropped()

    def close(self) -> None:
        """Returns once all that was kept is written."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        records: list[Record] = []
        flush_at_s = time.monotonic() + FLUSH_S
        closing = False
        while not closing:
            try:
                record = self._waiting.get(timeout=max(0.0, flush_at_s - time.monotonic()))
                closing = record is None
                if record is not None:
                    records.append(record)
            except queue.Empty:
                pass
            if closing or len(records) >= FILE_RECORDS or time.monotonic() >= flush_at_s:
                if records:
                    self._write(records)
                records = []
                flush_at_s = time.monotonic() + FLUSH_S

    def _write(self, records: list[Record]) -> None:
        """One file, there whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = (
            [self._redacted(record)._asdict() for record in records] if self._redact else [r._asdict() for r in records]
        )
        schema = pa.schema(
            [
                ("time_ms", pa.int64()),
                *((name, pa.string()) for name in ("request_id", "model", "version")),
                ("latency_ms", pa.float64()),
                ("content_type", pa.string()),
                ("request", pa.binary()),
                ("answer", pa.binary()),
            ]
        )
        name = f"payloads-{records[0].time_ms}-{uuid.uuid4().hex[:12]}.parquet"
        partial = self._directory / f".{name}.partial"
        try:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), partial, compression="zstd")
            partial.replace(self._directory / name)
        except (OSError, pa.ArrowException) as error:
            _log.warning("%d payloads could not be written", len(records), exc_info=error)
            for _ in records:
                self._dropped()

    def _redacted(self, record: Record) -> Record:
        return record._replace(
            request=redacted(record.request, self._redact), answer=redacted(record.answer, self._redact)
        )


def redacted(body: bytes | None, columns: frozenset[str]) -> bytes | None:
    """A JSON body with `null` for the values of `columns`, wherever they are named; None if it names none itself."""
    if body is None:
        return None
    try:
        content = msgspec.json.decode(body)
        split = content.get("dataframe_split") if isinstance(content, dict) else None
        if isinstance(split, dict):
            names = split.get("columns")
            hidden = None if names is None else [i for i, name in enumerate(names) if name in columns]
            for row in split["data"]:
                if isinstance(row, dict):
                    continue
                if hidden is None or not isinstance(row, list):
                    return None
                for i in hidden:
                    row[i] = None
        elif not isinstance(content, dict) or ("predictions" not in content and not _names(content)):
            return None
        return msgspec.json.encode(_without(content, columns))
    except (msgspec.MsgspecError, UnicodeError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def _names(content: dict[str, Any]) -> bool:
    """Whether every value of the input is below a name."""
    values = next((content[form] for form in ("dataframe_records", "instances", "inputs") if form in content), None)
    return isinstance(values, dict) or (isinstance(values, list) and all(isinstance(row, dict) for row in values))


def _without(value: Any, columns: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: None if name in columns else _without(item, columns) for name, item in value.items()}
    return [_without(item, columns) for item in value] if isinstance(value, list) else value
