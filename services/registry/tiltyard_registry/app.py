"""The composition root: which parts the registry is made of, and in which order they start and stop."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from importlib.metadata import version

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ControllerRouterHandler
from tiltyard.storage import open_store

from tiltyard_registry.api import errors, experiments, logged_models, registered_models, runs, server
from tiltyard_registry.api import metrics as metric_api
from tiltyard_registry.api.artifacts import artifact_routes
from tiltyard_registry.api.binding import ProtocolRequest
from tiltyard_registry.api.dependencies import DEPENDENCIES, Schema
from tiltyard_registry.api.guard import Guard
from tiltyard_registry.auth.providers import Authentication, load_providers, principal_of
from tiltyard_registry.logs import json_logs
from tiltyard_registry.settings import Settings
from tiltyard_registry.store import migrations
from tiltyard_registry.store.changes import Changes
from tiltyard_registry.store.session import Database
from tiltyard_registry.telemetry import Metrics, Telemetry

logger = logging.getLogger(__name__)

# Every path of the protocol is also served under the prefix that upstream's web pages use.
_PREFIXES = ("/api", "/ajax-api")
_MLFLOW: tuple[Sequence[HTTPRouteHandler], ...] = (
    registered_models.HANDLERS,
    experiments.HANDLERS,
    runs.HANDLERS,
    metric_api.HANDLERS,
    logged_models.HANDLERS,
)


def create_app(settings: Settings) -> Litestar:
    """The registry as an ASGI application. Nothing is opened before its lifespan begins."""
    database = Database(settings.resolved_database_url, max_connections=settings.max_connections)
    artifacts = open_store(settings.resolved_artifact_root)
    metrics = Metrics()
    app = Litestar(
        route_handlers=[*_routes(), *artifact_routes(database, artifacts, principal_of)],
        dependencies=DEPENDENCIES,
        exception_handlers={Exception: errors.handle},
        request_class=ProtocolRequest,
        request_max_body_size=settings.max_body_bytes,
        lifespan=[_lifespan],
        logging_config=None,
        openapi_config=OpenAPIConfig(title="Tiltyard registry", version=version("tiltyard"), path="/api/tiltyard/v1"),
        state=State(
            {
                "settings": settings,
                "database": database,
                "artifacts": artifacts,
                "changes": Changes(database),
                "schema": Schema(),
                "metrics": metrics,
                "draining": asyncio.Event(),
            }
        ),
    )
    guarded = Guard(app.asgi_handler, host=settings.host, allowed_hosts=settings.allowed_hosts)
    known = Authentication(guarded, load_providers(settings.auth))
    app.asgi_handler = Telemetry(known, metrics, lambda: database.connections_in_use)
    return app


def _routes() -> list[ControllerRouterHandler]:
    routes: list[ControllerRouterHandler] = list(server.HANDLERS)
    for prefix in _PREFIXES:
        routes.append(Router(f"{prefix}/2.0/mlflow", route_handlers=[one for part in _MLFLOW for one in part]))
        routes.append(Router(f"{prefix}/3.0/mlflow", route_handlers=server.INFO_HANDLERS))
    return routes


@contextlib.asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncGenerator[None]:
    settings: Settings = app.state.settings
    database: Database = app.state.database
    changes: Changes = app.state.changes
    with json_logs(access=settings.access_log):
        if settings.is_embedded:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(migrations.upgrade, settings.resolved_database_url)
        await changes.start()
        waker = asyncio.create_task(_wake_when_draining(app.state.draining, changes))
        try:
            yield
        finally:
            waker.cancel()
            await changes.stop()
            await database.close()


async def _wake_when_draining(draining: asyncio.Event, changes: Changes) -> None:
    """Lets blocking queries answer as soon as the server is told to stop."""
    await draining.wait()
    changes.notify()
