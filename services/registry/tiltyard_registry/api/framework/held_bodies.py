"""What the JSON bodies of all requests take together, from their first byte until they are answered."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.server.body_memory import BodyMemory

HELD = "held_body"
"""Where in the state of a request it is."""


class HeldBodies:
    """Gives back what each request's body took, however the request ends. Whoever reads a body takes it first."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._memory = BodyMemory(limit_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        held = self._memory.hold()
        scope["state"][HELD] = held
        try:
            await self._app(scope, receive, send)
        finally:
            held.give_back()
