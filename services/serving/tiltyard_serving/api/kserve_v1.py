"""KServe's V1 protocol under /v1/: the models there are, whether they are ready, and `models/NAME:predict`.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. A request holds
`instances` or `inputs`, as one to `/invocations` may.
"""

from typing import Any

import msgspec
from litestar.types import HTTPScope, Receive, Scope, Send

from tiltyard.errors import EndpointNotFound
from tiltyard_serving.api.model_repository import FindModel, names_of
from tiltyard_serving.api.open_inference import in_shape, refusal
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.operations.payload_log import PayloadLog
from tiltyard_serving.scoring.asgi import Invocations, ScoringTarget
from tiltyard_serving.scoring.in_flight import InFlight
from tiltyard_serving.scoring.replies import Reply, method_not_allowed, respond
from tiltyard_serving.settings import ServingSettings

PREDICT = ":predict"


class Predict(Invocations):
    """POST /v1/models/NAME:predict: the calls of `/invocations`, refused in this protocol's shape."""

    def refusal(self, error: Exception, named: str | None) -> Reply:
        """The answer that says what is wrong."""
        return refusal(error, named)


class V1:
    """Everything under /v1/."""

    def __init__(
        self,
        settings: ServingSettings,
        telemetry: Telemetry,
        endpoints: EndpointTable,
        find: FindModel,
        in_flight: InFlight,
        payload_log: PayloadLog | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._find = find
        self._predict = Predict(settings, telemetry, self._way, in_flight, payload_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        request: Any = scope
        if _parts(request)[-1].endswith(PREDICT) and request["method"] == "POST":
            await self._predict(scope, receive, send)
            return
        try:
            reply = await self._about(request)
        except Exception as error:
            reply = refusal(error)
        await respond(send, reply)

    async def _about(self, request: HTTPScope) -> Reply:
        parts = _parts(request)
        allowed = "POST" if parts[-1].endswith(PREDICT) else "GET"
        if request["method"] not in (allowed, "HEAD" if allowed == "GET" else allowed):
            return in_shape(method_not_allowed(request["method"], allowed))
        match parts:
            case ["models"]:
                return _json({"models": names_of(self._endpoints)})
            case ["models", name]:
                way = await self._find([name], None)
                return _json({"name": name, "ready": way.served.ready})
        raise EndpointNotFound("No endpoint has this path.")

    async def _way(self, request: HTTPScope) -> ScoringTarget:
        match _parts(request):
            case ["models", name]:
                return await self._find([name.removesuffix(PREDICT)], request)
        raise EndpointNotFound("No endpoint has this path.")


def _parts(request: HTTPScope) -> list[str]:
    """The parts of the path below the mount point."""
    return request["path"].strip("/").split("/")


def _json(content: object) -> Reply:
    return Reply(200, msgspec.json.encode(content))
