"""How a service writes its log: as JSON for programs or as text for people, and from which level on."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from tiltyard.telemetry.json_lines import json_line
from tiltyard.telemetry.text_lines import text_line

LogFormat = Literal["json", "text"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

WriteLine = Callable[[Mapping[str, Any]], str]

_WRITERS: dict[LogFormat, WriteLine] = {"json": json_line, "text": text_line}


class LogStyle(msgspec.Struct, frozen=True):
    """The format and the lowest level of what is logged."""

    format: LogFormat = "json"
    level: LogLevel = "INFO"

    @property
    def write_line(self) -> WriteLine:
        """What makes a line of a record's fields."""
        return _WRITERS[self.format]


def format_for_standard_error() -> LogFormat:
    """`text` where a person looks at standard error, else `json`."""
    return "text" if sys.stderr.isatty() else "json"
