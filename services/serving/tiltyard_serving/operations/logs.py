"""Logs as lines, one for each record."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tiltyard.telemetry.log_style import LogStyle

_MAX_ERROR_CHARS = 32 * 1024


class LineFormatter(logging.Formatter):
    """A line of `time`, `level`, `logger`, `message`, the record's `request_id`, and `error` with its traceback."""

    def __init__(self, style: LogStyle) -> None:
        super().__init__()
        self._write_line = style.write_line

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
            line["error"] = _shortened("".join(traceback.format_exception(record.exc_info[1])))
        return self._write_line(line)


def _shortened(text: str) -> str:
    """The text without its middle when it is long: what a model raises may quote all that it was given."""
    left_out = len(text) - _MAX_ERROR_CHARS
    if left_out <= 0:
        return text
    half = _MAX_ERROR_CHARS // 2
    return f"{text[:half]} … {left_out} characters left out … {text[-half:]}"


@contextmanager
def line_logs(style: LogStyle) -> Iterator[None]:
    """Formats what the process logs to its standard streams as lines; on leaving, as before."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(style.level)
    streams = [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    before = [handler.formatter for handler in streams]
    for handler in streams:
        handler.setFormatter(LineFormatter(style))
    try:
        yield
    finally:
        root.setLevel(level)
        for handler, formatter in zip(streams, before, strict=True):
            handler.setFormatter(formatter)
