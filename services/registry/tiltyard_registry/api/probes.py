"""Probes, metrics, version, and what a client may learn of the server."""

import asyncio
from html import escape
from importlib.metadata import version
from typing import Any

from litestar import MediaType, Request, Response
from litestar.datastructures import State
from prometheus_client import CONTENT_TYPE_LATEST

from tiltyard.errors import TemporarilyUnavailable
from tiltyard.wire.mlflow.server import ServerInfo
from tiltyard_registry.api.framework.routes import get
from tiltyard_registry.store.sql.availability import DISK_FULL

# Below the two seconds within which a probe shall tell the truth.
_CHECK_TIMEOUT_S = 1.5


@get("/", sync_to_thread=False)
def show_welcome(request: Request[Any, Any, Any]) -> Response[Any]:
    """What answers here, for a person with a browser and for a program."""
    about = {
        "name": "Tiltyard registry",
        "version": version("tiltyard"),
        "mlflow_tracking_uri": str(request.base_url).rstrip("/"),
        "docs": "/api/tiltyard/v1/docs",
        "openapi": "/api/tiltyard/v1/openapi.json",
        "health": "/health",
        "metrics": "/metrics",
    }
    if "text/html" not in request.headers.get("accept", ""):
        return Response(about, media_type=MediaType.JSON)
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{_linked(value)}</dd>" for name, value in about.items())
    page = f"<!doctype html><meta charset=utf-8><title>Tiltyard</title><h1>Tiltyard</h1><dl>{rows}</dl>"
    policy = {"content-security-policy": "default-src 'none'", "x-content-type-options": "nosniff"}
    return Response(page, media_type=MediaType.HTML, headers=policy)


def _linked(text: str) -> str:
    return f'<a href="{escape(text)}">{escape(text)}</a>' if text.startswith("/") else escape(text)


@get(["/health", "/readyz", "/startupz", "/ping"], media_type=MediaType.TEXT)
async def health(request: Request[Any, Any, Any]) -> Response[str]:
    """200 when requests can be answered: the database is there, has our schema and space, and nobody stops us."""
    state = request.app.state
    if state.draining.is_set():
        return _not_ready("The server is stopping.")
    checking = asyncio.ensure_future(_problem(state))
    # A look that takes too long is left to end by itself: to wait for its end may take as long again.
    done, _ = await asyncio.wait({checking}, timeout=_CHECK_TIMEOUT_S)
    if not done:
        checking.cancel()
        return _not_ready("The registry's database does not answer.")
    problem = checking.result()
    return Response("OK") if problem is None else _not_ready(problem)


async def _problem(state: State) -> str | None:
    """Why requests cannot be answered, None if they can."""
    try:
        await state.schema.check(state.database)
        if not await state.database.ping(timeout_s=_CHECK_TIMEOUT_S):
            return "The registry's database does not answer."
        return None if await state.database.can_write() else DISK_FULL
    except TemporarilyUnavailable as error:
        return error.message


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
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@get("/api/3.0/mlflow/server-info")
async def show_server_info(request: Request[Any, Any, Any]) -> ServerInfo:
    """What the stock client may ask of the server before it logs in."""
    state = request.app.state
    # Whether the store can may have to be asked of the network, once.
    direct = await asyncio.to_thread(lambda: state.artifacts.store.direct) if state.settings.direct_transfers else None
    return ServerInfo(
        store_type="SqlStore",
        workspaces_enabled=False,
        trace_archival_enabled=False,
        multipart_uploads_enabled=direct is not None,
        multipart_downloads_enabled=direct is not None,
    )
