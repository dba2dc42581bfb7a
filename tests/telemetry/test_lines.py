"""A log record is one line for every reader, whatever it says."""

import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from tiltyard.telemetry.log_lines import LineFormatter, LogStyle, json_line, text_line, valid_request_id

TEXT = st.text(st.characters() | st.sampled_from("\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e\r\n\ud800"))


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT), max_size=4))
def test_no_text_makes_a_second_line(fields: dict[str, str | list[str]]) -> None:
    """Unicode's line ends are escaped, and reading the line gives back what was said."""
    line = json_line(fields)
    assert len(line.splitlines()) == 1
    if "\\ud" not in ascii(fields):
        assert json.loads(line) == fields


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT), max_size=4), TEXT, TEXT)
def test_text_for_people_moves_no_cursor(fields: dict[str, str | list[str]], message: str, error: str) -> None:
    """A line of text is printable throughout, and so is each line of the traceback below it, which is set in."""
    first, *traceback = text_line({**fields, "message": message, "error": error}).split("\n")
    assert first.isprintable()
    assert all(line.startswith("  ") and line.isprintable() for line in traceback)


def test_a_line_for_people_is_short() -> None:
    """The time, the message and what it does not say; the level where it is not INFO."""
    fields = {"time": "2026-11-29T08:30:01.250+00:00", "logger": "x", "message": "GET /health 200", "duration_ms": 1.5}
    assert text_line({**fields, "level": "INFO"}) == "08:30:01 GET /health 200 duration_ms=1.5"
    assert text_line({**fields, "level": "ERROR", "error": "a\nb"}).splitlines() == [
        "08:30:01 ERROR GET /health 200 duration_ms=1.5",
        "  a",
        "  b",
    ]


def record() -> logging.LogRecord:
    """A record whose message and error hold line ends of a caller's making."""
    try:
        raise ValueError('x\u2028{"level": "FORGED"}\x85')
    except ValueError as error:
        return logging.LogRecord("n", 20, "", 0, "m\u2029\ud800", (), (type(error), error, None))


def test_lines_escape_what_callers_send() -> None:
    """Messages, fields and tracebacks, in both formats."""
    line = LineFormatter(LogStyle("json")).format(record())
    assert len(line.splitlines()) == 1
    assert "FORGED" in json.loads(line)["error"]
    assert all(each.isprintable() for each in LineFormatter(LogStyle("text")).format(record()).split("\n"))


@given(TEXT)
def test_an_id_of_a_request_is_short_and_plain(text: str) -> None:
    """Both services take the same ids: those that logs, headers and the registry's events can hold."""
    if valid_request_id(text) is not None:
        assert text.isascii()
        assert text.isprintable()
        assert 0 < len(text) <= 64
    assert valid_request_id("Root=1-67891233-abcdef012345678912345678") is not None
