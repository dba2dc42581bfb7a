"""What JSON bodies may take: how many values one holds, and what those of all requests take together."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import PayloadTooLarge
from tiltyard.server.body_memory import BodyMemory, Held

HELD = "held_body"
"""Where in the state of a request it is."""

# A body of this size is decoded in a few milliseconds, whatever it holds; larger ones are decoded in a thread.
AT_ONCE_BYTES = 64 * 1024
DEFAULT_MAX_VALUES = 200_000

# Piece by piece, so that other threads get their turn in between.
PIECE_BYTES = 256 * 1024
_SEPARATORS = b",[{"


def check_values(body: bytes, max_values: int) -> None:
    """Nothing, if a JSON text holds no more values than allowed.

    Raises:
        PayloadTooLarge: it does; the message names the limit.
    """
    if len(body) <= max_values:
        return
    values = 0
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        values += sum(piece.count(separator) for separator in _SEPARATORS)
        if values > max_values:
            raise PayloadTooLarge(
                f"The request body holds at least {values} values, over the limit 'max_values' of {max_values}."
            )


class HeldBodies:
    """Gives back what each request's body took, however the request ends. Whoever reads a body takes it first."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._memory = BodyMemory(limit_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        held = Held(self._memory)
        scope["state"][HELD] = held
        try:
            await self._app(scope, receive, send)
        finally:
            held.give_back()
