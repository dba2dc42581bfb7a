"""Sampled requests and their answers as Parquet files, written by a thread that no request waits for."""

import asyncio
import io
import logging
import os
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from tiltyard.errors import TiltyardError
from tiltyard.storage import ArtifactStore, open_store
from tiltyard_serving.operations.redaction import Redaction

WAITING = 2000
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

    @property
    def size_bytes(self) -> int:
        """What the bodies take."""
        return len(self.request or b"") + len(self.answer or b"")


class Sink(Protocol):
    """Where the files go, each there whole or not at all."""

    def open(self) -> None:
        """Gets ready to take files. Raises: OSError, TiltyardError."""

    def put(self, name: str, data: bytes) -> None:
        """Keeps a file. Raises: OSError, TiltyardError."""


class Folder:
    """A directory, made on opening."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self) -> None:
        # Requests and answers are nobody else's to read.
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, data: bytes) -> None:
        """Writes a file, and gives it its name when it is whole. Raises: OSError."""
        partial = self._directory / f".{name}.partial"
        # Somebody may have removed the directory.
        self.open()
        partial.unlink(missing_ok=True)
        try:
            with open(partial, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(data)
            partial.replace(self._directory / name)
        except OSError:
            # On a full disk its start would stay, and keep it full.
            partial.unlink(missing_ok=True)
            raise


class Objects:
    """A prefix of an object store."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def open(self) -> None:
        """Nothing: a store has no folders."""

    def put(self, name: str, data: bytes) -> None:
        asyncio.run(self._upload(name, data))

    async def _upload(self, name: str, data: bytes) -> None:
        async with self._store.open_writer(name) as writer:
            await writer.write(data)
            await writer.commit()


def open_sink(place: str) -> Sink:
    """The sink of a directory, or of an object-store URI such as `s3://bucket/prefix`.

    Raises:
        InvalidParameterValue: no store serves the scheme.
        MissingPackage: the scheme needs an extra that is not installed.
    """
    return Objects(open_store(place)) if "://" in place else Folder(Path(place))


class PayloadLog:
    """Keeps a share of what `offer` gets; what is too much to keep is dropped and counted.

    At most `WAITING` records wait to be written, of `waiting_bytes` together. A file is closed when it holds
    `file_records` or `file_bytes`, or `roll_s` after its first record, whichever comes first.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        sample: float,
        redact: frozenset[str],
        dropped: Callable[[], object],
        roll_s: float = 5.0,
        waiting_bytes: int = 256 * 1024 * 1024,
        file_records: int = 10_000,
        file_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._sink = sink
        self._sample = sample
        self._redact = redact
        self._dropped = dropped
        self._roll_s = roll_s
        self._waiting_bytes = waiting_bytes
        self._file_records, self._file_bytes = file_records, file_bytes
        self._waiting: queue.Queue[Record | None] = queue.Queue(WAITING)
        # Both are only ever added to, each by one thread: their difference is what waits.
        self._offered_bytes = 0
        self._taken_bytes = 0
        self._thread = threading.Thread(target=self._run, name="payload log", daemon=True)

    def start(self) -> None:
        """Makes the directory and begins to write. Raises: OSError if it cannot be made."""
        self._sink.open()
        self._thread.start()

    def offer(
        self,
        model: str,
        version: str,
        seconds: float,
        request_id: str | None,
        content_type: str | None,
        body: bytes | memoryview,
        answer: bytes,
    ) -> None:
        """Keeps it, if it is in the sample and there is room. Never waits."""
        if random.random() >= self._sample:  # noqa: S311 - samples, guards nothing
            return
        now_ms = time.time_ns() // 1_000_000
        kept = [None if len(data) > MAX_BODY_BYTES else bytes(data) for data in (body, answer)]
        named = request_id or uuid.uuid4().hex
        record = Record(now_ms, named, model, version, seconds * 1e3, content_type, *kept)
        if self._offered_bytes - self._taken_bytes + record.size_bytes > self._waiting_bytes:
            self._dropped()
            return
        try:
            self._waiting.put_nowait(record)
            self._offered_bytes += record.size_bytes
        except queue.Full:
            self._dropped()

    def close(self) -> None:
        """Returns once all that was kept is written."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        while not self._write_next():
            pass

    def _write_next(self) -> bool:
        """Writes one file once there is something for it. Whether that was the last one."""
        record = self._waiting.get()
        roll_at_s = time.monotonic() + self._roll_s
        records: list[Record] = []
        size_bytes = 0
        while record is not None:
            records.append(record)
            size_bytes += record.size_bytes
            if len(records) >= self._file_records or size_bytes >= self._file_bytes:
                break
            try:
                record = self._waiting.get(timeout=max(0.0, roll_at_s - time.monotonic()))
            except queue.Empty:
                break
        if records:
            self._write(records)
            self._taken_bytes += size_bytes
        return record is None

    def _write(self, records: list[Record]) -> None:
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
        try:
            file = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, compression="zstd")
            self._sink.put(name, file.getvalue())
        except (OSError, TiltyardError, pa.ArrowException) as error:
            _log.warning("%d payloads could not be written", len(records), exc_info=error)
            for _ in records:
                self._dropped()

    def _redacted(self, record: Record) -> Record:
        redaction = Redaction(self._redact)
        # In this order: an answer may repeat what was in its request.
        return record._replace(request=redaction.request(record.request), answer=redaction.answer(record.answer))
