"""What the headers of a file say, and which part of it was asked for."""

import mimetypes
import re
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import quote

from tiltyard.storage import Entry
from tiltyard_registry.api.framework.raw import Headers

_TEXT_SUFFIX = re.compile(
    r"\.(txt|log|err|out|jsonl?|ndjson|ya?ml|xml|[ct]sv|md|rst|py|js|ts|sh|sql|r|ini|cfg|conf|toml|properties"
    r"|x?html?|css|svgz?|mjs|cjs|xslt?|ipynb)",
    re.IGNORECASE,
)

_ACTIVE = re.compile(r"html|xml|script|svg|shockwave|java", re.IGNORECASE)

_TEXT_NAMES = frozenset({"MLmodel", "MLproject"})

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


class Span(NamedTuple):
    """The bytes `[start, end)` that a GET answers, and with which status."""

    status: int
    start: int
    end: int


def span_of(headers: dict[bytes, bytes], entry: Entry) -> Span | None:
    """The bytes asked for; None when the file has none of them."""
    size = entry.size_bytes
    asked = _RANGE.fullmatch(headers.get(b"range", b"").decode("latin-1"))
    same = headers.get(b"if-range") in (None, _etag(entry))
    # Several ranges, or a form not understood, may be answered with the whole file.
    if asked is None or not same:
        return Span(200, 0, size)
    first, last, suffix = asked.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return Span(200, 0, size)
    return Span(206, start, end) if start < end else None


def _etag(entry: Entry) -> bytes:
    return b'"%s"' % entry.etag.strip('"').encode("ascii", "replace")


def file_headers_of(entry: Entry, span: Span) -> Headers:
    """A file is a download of inert bytes, whatever it holds."""
    plain = re.sub(r'[^ !#-\[\]-~]|[%"]', "_", entry.name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(entry.name, safe='')}"
    headers = [
        (b"content-type", _content_type(entry.name).encode()),
        (b"content-disposition", disposition.encode()),
        (b"content-length", b"%d" % (span.end - span.start)),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
        (b"accept-ranges", b"bytes"),
        (b"etag", _etag(entry)),
    ]
    if span.status == 206:
        place = b"bytes %d-%d/%d" % (span.start, span.end - 1, entry.size_bytes)
        headers.append((b"content-range", place))
    return headers


def _content_type(name: str) -> str:
    if name in _TEXT_NAMES or _TEXT_SUFFIX.fullmatch(PurePosixPath(name).suffix):
        return "text/plain"
    kind, encoding = mimetypes.guess_type(name)
    # Of a compressed file the type is that of what it holds; and no browser shall take anything for a page.
    return "application/octet-stream" if kind is None or encoding or _ACTIVE.search(kind) else kind
