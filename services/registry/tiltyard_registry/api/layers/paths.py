"""Paths: the protocol's second prefix, and the text that no database holds."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.api.framework.errors import refuse

_AJAX, _PLAIN = "/ajax-api/", "/api/"
_VERSIONS = ("/ajax-api/2.0/mlflow/", "/ajax-api/3.0/mlflow/")


class AjaxPrefix:
    """Sends what upstream's web pages ask to the routes of the first prefix, so that every route is built once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(_VERSIONS):
            scope["path"] = scope["path"].replace(_AJAX, _PLAIN, 1)
        await self._app(scope, receive, send)


class NulBytes:
    """Lets requests through whose path and parameters hold no NUL character, which no database takes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == ScopeType.HTTP and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            error = InvalidParameterValue("A path or a parameter may not hold the NUL character.")
            await refuse(error, scope, send)
            return
        await self._app(scope, receive, send)
