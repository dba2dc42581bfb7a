"""The composition root: which parts the registry is made of, and in which order they start and stop."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from importlib.metadata import version

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ControllerRouterHandler, Scope, Send

from tiltyard.application import Application
from tiltyard.errors import TemporarilyUnavailable, TiltyardError
from tiltyard.server.head_requests import HeadRequests
from tiltyard.server.host_guard import HostGuard, Origins
from tiltyard.storage import open_store
from tiltyard_registry.api import documentation, probes
from tiltyard_registry.api.artifacts import lists
from tiltyard_registry.api.artifacts.pages import artifact_page_routes
from tiltyard_registry.api.artifacts.proxy import artifact_routes
from tiltyard_registry.api.framework import errors
from tiltyard_registry.api.framework.binding import ProtocolRequest
from tiltyard_registry.api.framework.body_limits import HeldBodies
from tiltyard_registry.api.framework.dependencies import DEPENDENCIES, Schema
from tiltyard_registry.api.framework.routes import handlers_of
from tiltyard_registry.api.layers.fast_routes import FastRoutes
from tiltyard_registry.api.layers.paths import AjaxPrefix, NulBytes
from tiltyard_registry.api.layers.query_in_body import QueryInBody
from tiltyard_registry.api.mlflow import (
    bulk_runs,
    experiments,
    logged_models,
    metrics,
    model_versions,
    registered_models,
    roles,
    runs,
    user_permissions,
    users,
)
from tiltyard_registry.api.unity import models, namespaces, permissions
from tiltyard_registry.api.v1 import aliases, changes, grants, principals, resolve, tokens, versions
from tiltyard_registry.api.v1 import runs as own_runs
from tiltyard_registry.auth.layer import Authentication, KnownOnly, principal_of
from tiltyard_registry.auth.password_hashes import PasswordHashes
from tiltyard_registry.auth.providers import load_providers
from tiltyard_registry.auth.sources import Sources
from tiltyard_registry.background.registrations import Registrations
from tiltyard_registry.background.run_names import RunNames
from tiltyard_registry.logs import line_logs
from tiltyard_registry.rules.limits import Quotas
from tiltyard_registry.settings import RegistrySettings
from tiltyard_registry.store import migrations, preflight
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.events.changes import Changes
from tiltyard_registry.store.principals.default_grants import begin_access
from tiltyard_registry.store.principals.principals import has_admin
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.telemetry import Metrics, Telemetry

# So long the end waits for connections of the start's own look at the database.
_GIVEN_BACK_S = 1.0

logger = logging.getLogger(__name__)

_OWN_PREFIX = "/api/tiltyard/v1"


def create_app(settings: RegistrySettings) -> Litestar:
    """The registry as an ASGI application. Nothing is opened before its lifespan begins."""
    quotas = Quotas(
        params=settings.max_params_per_run,
        tags=settings.max_tags_per_run,
        metric_points=settings.max_points_per_run,
        runs=settings.max_runs_per_experiment,
        request_entries=settings.max_request_entries,
    )
    database = Database(settings.resolved_database_url, max_connections=settings.max_connections, quotas=quotas)
    root = settings.resolved_artifact_root
    artifacts = ArtifactRoot(open_store(root), root)
    measured, changes, hashes = Metrics(), Changes(database), PasswordHashes()
    app = Application(
        route_handlers=[
            *_routes(),
            *artifact_routes(database, artifacts.store, principal_of, direct_transfers=settings.direct_transfers),
            *artifact_page_routes(database, artifacts, principal_of),
        ],
        dependencies=DEPENDENCIES,
        exception_handlers={Exception: errors.handle},
        request_class=ProtocolRequest,
        request_max_body_size=settings.max_body_bytes,
        lifespan=[_lifespan],
        logging_config=None,
        openapi_config=_openapi(),
        state=State(
            {
                "settings": settings,
                "database": database,
                "artifacts": artifacts,
                "changes": changes,
                "password_hashes": hashes,
                "schema": Schema(),
                "metrics": measured,
                "draining": asyncio.Event(),
            }
        ),
    )
    schema: Schema = app.state.schema
    draining: asyncio.Event = app.state.draining
    fast = FastRoutes(app.asgi_handler, database, schema, draining, max_body_bytes=settings.max_body_bytes)
    for_known = KnownOnly(QueryInBody(HeldBodies(fast, settings.max_arriving_bytes)), _keep_away)
    plain = NulBytes(HeadRequests(AjaxPrefix(for_known)))
    guarded = HostGuard(plain, Origins(settings.host, settings.allowed_hosts), _keep_away)
    known = Authentication(guarded, load_providers(settings.providers, Sources(database, changes, hashes)))
    # Outermost first: measure, ask who it is, keep other sites away, make HEAD a plain GET, let nobody pass who is
    # unknown, make a GET with a body a plain one, find the route.
    app.asgi_handler = Telemetry(known, measured, lambda: database.connections_in_use)
    return app


async def _keep_away(scope: Scope, send: Send, error: TiltyardError) -> None:
    """Answers a request that comes from another site, or from nobody who is known."""
    await errors.refuse(error, scope, send)


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Tiltyard registry",
        version=version("tiltyard"),
        description=(
            "Every path under /api/2.0/mlflow and /api/3.0/mlflow is also served under /ajax-api. Files are listed "
            "at /api/2.0/mlflow-artifacts/artifacts?path=, and read, written and deleted below that path."
        ),
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin()],
        openapi_router=Router(
            _OWN_PREFIX, route_handlers=[], include_in_schema=False, before_request=documentation.only_the_document
        ),
    )


def _routes() -> list[ControllerRouterHandler]:
    mlflow = (registered_models, model_versions, experiments, runs, bulk_runs, metrics, logged_models, lists, users)
    own = (resolve, aliases, changes, versions, own_runs, principals, tokens, grants, documentation)
    return [
        *handlers_of(probes),
        Router("/api/2.0/mlflow", route_handlers=handlers_of(*mlflow)),
        Router("/api/3.0/mlflow", route_handlers=handlers_of(user_permissions, roles)),
        Router(errors.UNITY_PREFIX, route_handlers=handlers_of(namespaces, models, permissions)),
        Router(_OWN_PREFIX, route_handlers=handlers_of(*own)),
    ]


@contextlib.asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncGenerator[None]:
    settings: RegistrySettings = app.state.settings
    database: Database = app.state.database
    changes: Changes = app.state.changes
    with line_logs(settings.logs, access=settings.access_log):
        if settings.is_embedded:
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            await asyncio.to_thread(migrations.upgrade, settings.resolved_database_url)
        if settings.asks_who:
            await _begin_access(settings, database, app.state.schema)
        await changes.start()
        loops = (Registrations(database, app.state.artifacts), RunNames(database))
        for loop in loops:
            await loop.start()
        waker = asyncio.create_task(_wake_when_draining(app.state.draining, changes))
        looking = asyncio.create_task(_tell_of_problems(database, app.state.artifacts))
        try:
            yield
        finally:
            for task in (waker, looking):
                task.cancel()
            # Who still has a connection gives it back before the pools close; a silent database is not waited for.
            await asyncio.wait({waker, looking}, timeout=_GIVEN_BACK_S)
            for loop in reversed(loops):
                await loop.stop()
            await changes.stop()
            await database.close()


async def _begin_access(settings: RegistrySettings, database: Database, schema: Schema) -> None:
    """Makes the group of everybody known, and says how somebody becomes administrator while nobody is."""
    try:
        await schema.check(database)
        await begin_access(database, with_grants=settings.default_grants == "standard")
        async with database.read() as session:
            is_done = await has_admin(session)
    except TemporarilyUnavailable as error:
        logger.warning("access is not set up yet, and will be by the next start: %s", error)
        return
    if not is_done:
        # Not by its URL, in which a password may be.
        where = "with the same --database-url" if settings.database_url else f"--data-dir {settings.data_dir}"
        logger.warning("nobody is administrator yet; make one: tiltyard users create-admin NAME %s", where)


async def _wake_when_draining(draining: asyncio.Event, changes: Changes) -> None:
    """Lets blocking queries answer as soon as the server is told to stop."""
    await draining.wait()
    changes.notify()


async def _tell_of_problems(database: Database, artifacts: ArtifactRoot) -> None:
    """Says in the log at once what requests would come upon later. The start waits for neither answer."""
    for problem in await asyncio.gather(preflight.problem_of_database(database), preflight.problem_of_store(artifacts)):
        if problem is not None:
            logger.warning(problem)
