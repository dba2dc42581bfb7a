"""A log record is one line for every reader, whatever it says."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.telemetry.json_lines import json_line
from tiltyard_registry.logs import JsonFormatter as RegistryFormatter
from tiltyard_serving.logs import JsonFormatter as ServingFormatter

TEXT = st.text(st.characters() | st.sampled_from("\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e\r\n\ud800"))


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT), max_size=4))
def test_no_text_makes_a_second_line(fields: dict[str, str | list[str]]) -> None:
    """Unicode's line ends are escaped, and reading the line gives back what was said."""
    line = json_line(fields)
    assert len(line.splitlines()) == 1
    if "\\ud" not in ascii(fields):
        assert json.loads(line) == fields


@pytest.mark.parametrize("formatter", [RegistryFormatter, ServingFormatter])
def test_both_services_escape_what_callers_send(formatter: type[logging.Formatter]) -> None:
    """Messages, fields and tracebacks."""
    try:
        raise ValueError('x\u2028{"level": "FORGED"}\x85')
    except ValueError as error:
        record = logging.LogRecord("n", 20, "", 0, "m\u2029\ud800", (), (type(error), error, None))
    line = formatter().format(record)
    assert len(line.splitlines()) == 1 and "FORGED" in json.loads(line)["error"]
