"""Logs as JSON lines: one object per record."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tiltyard.telemetry.json_lines import json_line


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`, the record's `request_id`, and `error` with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", None):
            line["request_id"] = request_id
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json_line(line)


@contextmanager
def json_lines() -> Iterator[None]:
    """Formats what the process logs to its standard streams as JSON lines; on leaving, as before."""
    streams = [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    before = [handler.formatter for handler in streams]
    for handler in streams:
        handler.setFormatter(JsonFormatter())
    try:
        yield
    finally:
        for handler, formatter in zip(streams, before, strict=True):
            handler.setFormatter(formatter)
