"""In which format a caller wants the answer."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from tiltyard.pyfunc.payload.columnar.arrow import ARROW_STREAM
from tiltyard.pyfunc.payload.output_tables import encode_arrow, encode_csv
from tiltyard.server.direct import JSON, Header
from tiltyard_serving.models.loaded_model import Encode


class Format(NamedTuple):
    """A content type, and what writes it; None is the model's own step, which writes JSON."""

    content_type: bytes
    encode: Encode | None
    headers: tuple[Header, ...] = ()

    def comparable(self, answer: bytes) -> Callable[[], bytes] | None:
        """What gives an answer as the model's own step writes it; None where it is in another form."""
        return (lambda: answer) if self.encode is None else None


_JSON = Format(JSON, None)
_FORMATS = {
    "application/json": _JSON,
    "*/*": _JSON,
    "application/*": _JSON,
    ARROW_STREAM: Format(ARROW_STREAM.encode(), encode_arrow),
    "text/csv": Format(b"text/csv; charset=utf-8", encode_csv),
}


def wanted(accept: str | None) -> Format:
    """The format that an `Accept` header prefers; JSON when it names none that is written here, as upstream."""
    return _JSON if accept is None else _preferred(accept)


@lru_cache(maxsize=256)
def _preferred(accept: str) -> Format:
    best, best_quality = _JSON, 0.0
    for part in accept.split(","):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        quality = next((_number(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
        if kind in _FORMATS and quality > best_quality:
            best, best_quality = _FORMATS[kind], quality
    return best


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
