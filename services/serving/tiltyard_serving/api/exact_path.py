"""The way past the framework for scoring requests, whose routing would cost as much as their decoding."""

from collections.abc import Sequence

from litestar.handlers import ASGIRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send


class ExactPathRouter:
    """Gives requests for exact paths to the raw handlers of these paths, and all others to the framework."""

    def __init__(self, inner: ASGIApp, handlers: Sequence[ASGIRouteHandler]) -> None:
        self._inner = inner
        # Handlers that are mounted need their path cut, which stays the framework's work.
        self._direct: dict[str, ASGIApp] = {
            path: handler.fn for handler in handlers if not handler.is_mount for path in handler.paths
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        app = self._direct.get(scope["path"], self._inner)
        await app(scope, receive, send)
