"""Long lists as JSON text, part by part: what is read is sent before more is read."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tiltyard_registry.store.sql.session import Session


class EncodedJson(NamedTuple):
    """Some items of a list, with commas between, and how to read the part behind it, if there is one.

    The part after the last that the caller asked for is his to ask for: the last one has the token.
    """

    text: bytes
    following: "Callable[[Session], Awaitable[EncodedJson]] | None" = None
    next_page_token: str | None = None
