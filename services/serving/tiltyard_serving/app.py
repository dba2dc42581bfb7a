"""The composition root of the scoring service."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.types import Scope, Send

from tiltyard.application import Application
from tiltyard.errors import TiltyardError
from tiltyard.server.head_requests import HeadRequests
from tiltyard.server.host_guard import PROBES, HostGuard, Origins
from tiltyard_serving.api.documentation import Document
from tiltyard_serving.api.endpoints import HANDLERS as ENDPOINT_HANDLERS
from tiltyard_serving.api.probes import HANDLERS
from tiltyard_serving.api.scoring_routes import ScoringRoutes, scoring_apps
from tiltyard_serving.auth.callers import Callers, Everybody
from tiltyard_serving.endpoints.endpoint_changes import EndpointChanges
from tiltyard_serving.operations.logs import line_logs
from tiltyard_serving.operations.memory import share_arenas, share_memory_with_arrow
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.operations.payload_log import PayloadLog, open_sink
from tiltyard_serving.scoring.call import Scoring
from tiltyard_serving.scoring.connection import DirectScoring
from tiltyard_serving.scoring.protocols.open_inference import refusal
from tiltyard_serving.scoring.replies import error_reply, http_error_reply, respond
from tiltyard_serving.scoring.targets import ScoringTargets
from tiltyard_serving.settings import ServingSettings

# Whether the process is well may be asked under any name.
_EXEMPT = PROBES | {"/v2/health/live", "/v2/health/ready"}


def create_app(settings: ServingSettings, callers: Callers | None = None) -> Litestar:
    """The ASGI application of one scoring process; everybody may have predictions, unless `callers` say no.

    It answers `/health` with 503 until every configured model is loaded; nothing waits for that. Setting
    `app.state.draining` makes it unready for good while requests in flight are finished.

    Raises:
        InvalidParameterValue: a setting is malformed.
    """
    # Threads of OpenMP would otherwise spin for long after each prediction, on the cores that the next request
    # needs. Without any spinning, an estimator that starts them once for each tree waits for the kernel each time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    share_arenas()
    share_memory_with_arrow()
    # A line for each question to the registry says nothing that the metrics do not say.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    telemetry = Telemetry()
    changes = EndpointChanges(settings, telemetry)
    endpoints = changes.table
    draining = asyncio.Event()
    payload_log = None
    if settings.payload_log_dir is not None:
        payload_log = PayloadLog(
            open_sink(settings.payload_log_dir),
            roll_s=settings.payload_log_roll_s,
            sample=settings.payload_log_sample,
            redact=frozenset(settings.payload_log_redact),
            dropped=telemetry.payloads_dropped.inc,
        )

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        with line_logs(settings.logs):
            if payload_log is not None:
                payload_log.start()
            changes.start()
            await changes.before_traffic()
            try:
                yield
            finally:
                changes.close()
                if payload_log is not None:
                    await asyncio.to_thread(payload_log.close)

    origins = Origins(settings.host, settings.allowed_hosts)
    scoring = Scoring(settings, telemetry, callers or Everybody(), payload_log)
    targets = ScoringTargets(endpoints)
    app = Application(
        route_handlers=[*HANDLERS, *ENDPOINT_HANDLERS],
        lifespan=[lifespan],
        state=State(
            {
                "settings": settings,
                "telemetry": telemetry,
                "endpoints": endpoints,
                "endpoint_changes": changes,
                "draining": draining,
                # For the process that serves it: what is answered on the connections themselves.
                "direct": DirectScoring(scoring, targets, origins),
            }
        ),
        exception_handlers={HTTPException: _refuse, Exception: _refuse},
        openapi_config=OpenAPIConfig(
            title="Tiltyard serving",
            version=version("tiltyard"),
            path="/api/tiltyard/v1/schema",
            use_handler_docstrings=True,
            render_plugins=[Document()],
        ),
        logging_config=None,
    )
    routes = ScoringRoutes(app.asgi_handler, scoring_apps(scoring, targets, endpoints, telemetry, draining))
    app.asgi_handler = HeadRequests(HostGuard(routes, origins, _keep_away, exempt=_EXEMPT))
    return app


async def _keep_away(scope: Scope, send: Send, error: TiltyardError) -> None:
    """Answers a request that comes from another site, in the shape of the protocol that it speaks."""
    await respond(send, refusal(error) if scope["path"].startswith("/v2/") else error_reply(error))


def _refuse(request: Request[object, object, State], error: Exception) -> Response[bytes]:
    """Unknown paths, wrong methods and faults of ours, in the protocol's error shape."""
    reply = http_error_reply(error, request.method)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, status_code=reply.status, media_type="application/json", headers=headers)
