"""HEAD wherever GET is: the same status and headers, and no body. For uptime checks, `curl -I`, load balancers."""

from collections.abc import Awaitable, Callable
from typing import Any

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_ASKED = "asked_for_head"


class HeadRequests:
    """Has the routes of GET answer HEAD too. Whoever would read a file for the body can ask `is_head`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})[_ASKED] = True
        # The server below goes on knowing the request as it came.
        asked: Any = {**scope, "method": "GET"}

        async def without_body(message: Any) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(asked, receive, without_body)
        finally:
            scope["path_template"] = asked.get("path_template", "")


def is_head(scope: Any) -> bool:
    """Whether the answer's body will go nowhere."""
    return scope["method"] == "HEAD" or _ASKED in scope.get("state", {})
