"""Refuses text that no database holds: the NUL character in a path or a parameter."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import InvalidParameterValue, TiltyardError
from tiltyard_registry.api.errors import shape


class NulBytes:
    """Lets requests through whose path and parameters hold no NUL character."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == ScopeType.HTTP and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            error = InvalidParameterValue("A path or a parameter may not hold the NUL character.")
            await refuse(scope, send, error)
            return
        await self._app(scope, receive, send)


async def refuse(scope: Scope, send: Send, error: TiltyardError) -> None:
    """Answers a request that is not let through, in the shape that callers of its path read."""
    status, body = shape(error, path=scope["path"], request_id=None)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
