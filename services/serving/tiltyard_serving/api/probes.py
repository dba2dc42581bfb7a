"""Whether the process can do its work, what it serves, and what it has counted."""

from importlib.metadata import version

import msgspec
from litestar import Response, get
from litestar.datastructures import State
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from tiltyard.errors import TemporarilyUnavailable
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.scoring.replies import error_body


class ServedState(msgspec.Struct):
    """What is served under one label, and why not, if it is not what it should be."""

    served: str
    ready: bool
    name: str | None
    version: str | None
    merging: bool | None
    trees: str | None
    problem: str | None
    # What is wrong with the version that answers, although it is served.
    warning: str | None
    # How the process of an isolated model is: running or restarting.
    process: str | None


class ModelsReply(msgspec.Struct):
    models: list[ServedState]


@get("/livez", summary="Whether the process answers at all", sync_to_thread=False)
def live() -> Response[bytes]:
    """200 as long as the process runs."""
    return Response(b"\n", media_type="application/json")


@get(["/health", "/ping", "/readyz"], summary="Whether every configured model is loaded", sync_to_thread=False)
def health(state: State) -> Response[bytes]:
    """200 with an empty line once every configured model is loaded, else 503."""
    endpoints: EndpointTable = state.endpoints
    try:
        endpoints.check_ready(stopping=state.draining.is_set())
    except TemporarilyUnavailable as error:
        headers = {"Retry-After": "1"}
        return Response(error_body(error), status_code=503, media_type="application/json", headers=headers)
    return Response(b"\n", media_type="application/json")


@get("/version", summary="The version of this server", sync_to_thread=False)
def server_version() -> Response[bytes]:
    """The bare version text."""
    return Response(version("tiltyard").encode(), media_type="application/json")


@get("/metrics", summary="Metrics for Prometheus", sync_to_thread=True)
def metrics(state: State) -> Response[bytes]:
    """All metrics as Prometheus text."""
    telemetry: Telemetry = state.telemetry
    return Response(telemetry.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@get("/api/tiltyard/v1/models", summary="What is served now", sync_to_thread=False)
def served_models(state: State) -> ModelsReply:
    """Every served model with the version that answers now."""
    endpoints: EndpointTable = state.endpoints
    return ModelsReply(
        [
            ServedState(
                served=served.label,
                ready=served.ready,
                name=model.name if model else None,
                version=model.version if model else None,
                merging=model.merging if model else None,
                trees=model.trees if model else None,
                problem=served.problem,
                warning=model.warning if model else None,
                process=model.process.state if model and model.process else None,
            )
            for served in endpoints
            for model in [served.slot.current]
        ]
    )


HANDLERS = (live, health, server_version, metrics, served_models)
