"""The second prefix of the protocol: what upstream's web pages ask under /ajax-api is answered as under /api."""

from litestar.types import ASGIApp, Receive, Scope, Send

_AJAX, _PLAIN = "/ajax-api/", "/api/"
_VERSIONS = ("/ajax-api/2.0/mlflow/", "/ajax-api/3.0/mlflow/")


class AjaxPrefix:
    """Sends requests under the second prefix to the routes of the first, so that every route is built once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(_VERSIONS):
            scope["path"] = scope["path"].replace(_AJAX, _PLAIN, 1)
        await self._app(scope, receive, send)
