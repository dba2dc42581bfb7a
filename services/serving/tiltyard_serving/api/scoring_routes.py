"""Paths, and how a path of the scoring protocol names a model."""

import asyncio

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from tiltyard.errors import EndpointNotFound
from tiltyard.server.host_guard import Origins
from tiltyard_serving.api.kserve_v1 import V1
from tiltyard_serving.api.open_inference import V2
from tiltyard_serving.endpoints.endpoint import Endpoint
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.operations.payload_log import PayloadLog
from tiltyard_serving.scoring.asgi import Invocations, Route, ScoringTarget
from tiltyard_serving.scoring.connection import DirectScoring
from tiltyard_serving.scoring.in_flight import InFlight
from tiltyard_serving.scoring.request_head import RequestHeadCache
from tiltyard_serving.settings import ServingSettings


def scoring_routes(
    settings: ServingSettings,
    telemetry: Telemetry,
    endpoints: EndpointTable,
    draining: asyncio.Event,
    origins: Origins,
    payload_log: PayloadLog | None = None,
) -> tuple[list[ASGIRouteHandler], DirectScoring]:
    """The ways to ask for predictions: mounted as raw ASGI applications, and on the connections themselves."""

    def now_of_default(request: HTTPScope) -> ScoringTarget:
        return _chosen(endpoints.default(), request)

    def now_of_endpoint(request: HTTPScope) -> ScoringTarget:
        match _parts(request):
            case [name, "invocations"]:
                return _chosen(endpoints.named(name), request)
        raise _unknown(request)

    async def of_default(request: HTTPScope) -> ScoringTarget:
        return now_of_default(request)

    async def of_endpoint(request: HTTPScope) -> ScoringTarget:
        return now_of_endpoint(request)

    async def of_model(request: HTTPScope) -> ScoringTarget:
        match _parts(request):
            case [name, selector, "invocations"]:
                return ScoringTarget(await endpoints.of_model(name, selector))
        raise _unknown(request)

    in_flight = InFlight(settings.request_timeout_s, settings.max_arriving_bytes, telemetry.in_flight.set)

    def route(path: str, find: Route, *, is_mount: bool) -> ASGIRouteHandler:
        invocations = Invocations(settings, telemetry, find, in_flight, payload_log)

        @asgi(path, is_mount=is_mount, copy_scope=False)
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            await invocations(scope, receive, send)

        return handle

    v2 = V2(settings, telemetry, endpoints, in_flight, draining, payload_log)

    @asgi("/v2", is_mount=True, copy_scope=False)
    async def open_inference(scope: Scope, receive: Receive, send: Send) -> None:
        await v2(scope, receive, send)

    v1 = V1(settings, telemetry, endpoints, v2.find, in_flight, payload_log)

    @asgi("/v1", is_mount=True, copy_scope=False)
    async def kserve(scope: Scope, receive: Receive, send: Send) -> None:
        await v1(scope, receive, send)

    invocations = Invocations(settings, telemetry, of_default, in_flight, payload_log)
    paths, mounts = {"/invocations": now_of_default}, {"/serving-endpoints": now_of_endpoint}
    direct = DirectScoring(invocations, in_flight, RequestHeadCache(invocations, origins, paths, mounts))
    handlers = [
        open_inference,
        kserve,
        route("/invocations", of_default, is_mount=False),
        route("/model", of_model, is_mount=True),
        route("/serving-endpoints", of_endpoint, is_mount=True),
    ]
    return handlers, direct


def _chosen(endpoint: Endpoint, request: HTTPScope) -> ScoringTarget:
    return ScoringTarget(endpoint.choose(request["headers"]), endpoint.shadow)


def _parts(request: HTTPScope) -> list[str]:
    """The parts of the path below the mount point."""
    return request["path"].strip("/").split("/")


def _unknown(request: HTTPScope) -> EndpointNotFound:
    return EndpointNotFound(f"No endpoint has the path of this {request['method']} request.")
