"""Probes, metrics, version, and what a client may learn of the server."""

import asyncio
from importlib.metadata import version
from typing import Any

from litestar import MediaType, Request, Response

from tiltyard.errors import TemporarilyUnavailable
from tiltyard.wire.server import ServerInfo
from tiltyard_registry.api.routes import get

# Below the two seconds within which a probe shall tell the truth.
_CHECK_TIMEOUT_S = 1.5


@get(["/health", "/readyz", "/startupz", "/ping"], media_type=MediaType.TEXT)
async def health(request: Request[Any, Any, Any]) -> Response[str]:
    """200 when requests can be answered: the database is there, has our schema, and the server is not stopping."""
    state = request.app.state
    if state.draining.is_set():
        return _not_ready("The server is stopping.")
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await state.schema.check(state.database)
            ready = await state.database.ping(timeout_s=_CHECK_TIMEOUT_S)
    except TimeoutError:
        ready = False
    except TemporarilyUnavailable as error:
        return _not_ready(error.message)
    return Response("OK") if ready else _not_ready("The registry's database does not answer.")


def _not_ready(reason: str) -> Response[str]:
    return Response(reason, status_code=503, headers={"retry-after": "1"})


@get("/livez", media_type=MediaType.TEXT, sync_to_thread=False)
def live() -> str:
    """200 as long as the process runs, whatever happens to the database."""
    return "OK"


@get("/version", media_type=MediaType.TEXT, sync_to_thread=False)
def show_version() -> str:
    """The version of this server."""
    return version("tiltyard")


@get("/metrics", include_in_schema=False, sync_to_thread=False)
def show_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Prometheus metrics of all processes that share the port."""
    text, content_type = request.app.state.metrics.exposition()
    return Response(text, media_type=content_type)


@get("/server-info", sync_to_thread=False)
def show_server_info() -> ServerInfo:
    """What the stock client may ask of the server before it logs in."""
    return ServerInfo(
        store_type="SqlStore",
        workspaces_enabled=False,
        trace_archival_enabled=False,
        multipart_uploads_enabled=False,
        multipart_downloads_enabled=False,
    )


HANDLERS = [health, live, show_version, show_metrics]
"""Mounted at the root."""

INFO_HANDLERS = [show_server_info]
"""Mounted under `/api/3.0/mlflow` and `/ajax-api/3.0/mlflow`."""
