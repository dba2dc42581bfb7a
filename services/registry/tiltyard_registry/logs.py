"""Logs as JSON lines on standard error, written by a thread: a request never waits for whoever reads them."""

import logging
import logging.handlers
import queue
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

# Lines beyond these are dropped rather than kept in memory.
_MAX_WAITING = 10_000

access_logger = logging.getLogger("tiltyard_registry.access")


class JsonFormatter(logging.Formatter):
    """One JSON object per record: `time`, `level`, `logger`, `message`, the record's `fields`, `error`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = "".join(traceback.format_exception(record.exc_info[1]))
        return msgspec.json.encode(line, enc_hook=str).decode()


class _Handler(logging.handlers.QueueHandler):
    """Hands records over as they are; the thread formats them."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


@contextmanager
def json_logs(*, access: bool, stream: TextIO | None = None) -> Generator[None]:
    """Sends all logging of the process to `stream` as JSON lines; on leaving, all that waits is written."""
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(_MAX_WAITING)
    output = logging.StreamHandler(stream or sys.stderr)
    output.setFormatter(JsonFormatter())
    listener = logging.handlers.QueueListener(waiting, output)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers[:] = [_Handler(waiting)]
    root.setLevel(logging.INFO)
    access_logger.disabled = not access
    # Of what it reads and whom it finds it tells on every start; that it migrates is told by whoever asked it to.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        root.handlers[:] = before
        root.setLevel(level)
