"""Log records as lines, by one rule for both services."""

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

from tiltyard.telemetry.log_style import LogStyle

_MAX_ERROR_CHARS = 32 * 1024


class LineFormatter(logging.Formatter):
    """A line of `time`, `level`, `logger`, `message`, what `extra` says, and `error` with its traceback.

    `extra` may hold `request_id`, and `fields` with a mapping of whatever else belongs to the line.
    """

    def __init__(self, style: LogStyle) -> None:
        super().__init__()
        self._write_line = style.write_line

    def format(self, record: logging.LogRecord) -> str:
        line = line_of(datetime.fromtimestamp(record.created, UTC), record.levelname, record.name, record.getMessage())
        line |= getattr(record, "fields", {})
        if request_id := getattr(record, "request_id", None):
            line["request_id"] = request_id
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _shortened("".join(traceback.format_exception(record.exc_info[1])))
        return self._write_line(line)


def line_of(time: datetime, level: str, logger: str, message: str) -> dict[str, Any]:
    """The fields that every line begins with."""
    return {"time": time.isoformat(timespec="milliseconds"), "level": level, "logger": logger, "message": message}


def _shortened(text: str) -> str:
    """The text without its middle when it is long: what a model raises may quote all that it was given."""
    left_out = len(text) - _MAX_ERROR_CHARS
    if left_out <= 0:
        return text
    half = _MAX_ERROR_CHARS // 2
    return f"{text[:half]} … {left_out} characters left out … {text[-half:]}"
