"""Refuses text that no database holds: the NUL character in a path or a parameter."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.api.framework.errors import refuse


class NulBytes:
    """Lets requests through whose path and parameters hold no NUL character."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == ScopeType.HTTP and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            error = InvalidParameterValue("A path or a parameter may not hold the NUL character.")
            await refuse(error, scope, send)
            return
        await self._app(scope, receive, send)
