"""How both services write their logs: a line for each record, as JSON for programs or as text for people.

A caller finds their request again in them by its id.
"""

import logging
import re
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

REQUEST_ID_HEADER = b"x-request-id"
# As long as the registry's events can hold. Of what clouds and proxies make up, nothing is longer.
_VALID = re.compile(r"[A-Za-z0-9._:/+=\-]{1,64}")

LogFormat = Literal["json", "text"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

WriteLine = Callable[[Mapping[str, Any]], str]
# JSON leaves these as they are, and readers that split at Unicode's line ends would see a line of a caller's making.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
_MAX_ERROR_CHARS = 32 * 1024

# What the message says already.
_SAID = {"time", "level", "logger", "message", "error", "method", "path", "status"}


def text_line(fields: Mapping[str, Any]) -> str:
    """The time, the level unless it is INFO, the message and what else there is; a traceback below it.

    Nothing that a caller sent can move the cursor or begin a line of its own.
    """
    time = str(fields.get("time", "")).partition("T")[2][:8]
    level = str(fields.get("level", ""))
    parts = [time, *([level] if level != "INFO" else []), str(fields.get("message", ""))]
    parts += [f"{name}={value}" for name, value in fields.items() if name not in _SAID]
    line = _printable(" ".join(parts))
    if error := fields.get("error"):
        line += "".join(f"\n  {_printable(each)}" for each in str(error).splitlines())
    return line


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def json_line(fields: Mapping[str, Any]) -> str:
    """One JSON object on one line, by any reader's idea of a line; without the end of the line."""
    try:
        line = msgspec.json.encode(fields).decode()
    except UnicodeEncodeError:
        line = msgspec.json.encode(_writable(fields)).decode()
    return line if line.isascii() else line.translate(_LINE_ENDS)


def _writable(value: Any) -> Any:
    """`value` without the lone surrogates that JSON cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_writable(name): _writable(item) for name, item in value.items()}
    return [_writable(item) for item in value] if isinstance(value, list | tuple) else value


_WRITERS: dict[LogFormat, WriteLine] = {"json": json_line, "text": text_line}


class LogStyle(msgspec.Struct, frozen=True):
    """The format and the lowest level of what is logged."""

    format: LogFormat = "json"
    level: LogLevel = "INFO"

    @property
    def write_line(self) -> WriteLine:
        """What makes a line of a record's fields."""
        return _WRITERS[self.format]


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


def valid_request_id(given: str | None) -> str | None:
    """What a caller gave, if it is an id that logs and tables can hold: plain ASCII of at most 64 characters."""
    return given if given and _VALID.fullmatch(given) else None
