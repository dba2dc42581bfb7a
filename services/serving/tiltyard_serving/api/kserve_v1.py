"""KServe's V1 protocol under /v1/: the models there are, whether they are ready, and `models/NAME:predict`.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. A request holds
`instances` or `inputs`, as one to `/invocations` may.
"""

from litestar.types import ASGIApp, Receive

from tiltyard.errors import EndpointNotFound
from tiltyard_serving.api.model_repository import names_of
from tiltyard_serving.api.model_routes import ModelRoutes
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.scoring.targets import PREDICT, ScoringTargets


class V1(ModelRoutes):
    """Everything under /v1/."""

    def __init__(self, scoring: ASGIApp, targets: ScoringTargets, endpoints: EndpointTable) -> None:
        super().__init__(scoring)
        self._targets = targets
        self._endpoints = endpoints

    def scores(self, words: list[str]) -> bool:
        """At `models/NAME:predict`."""
        return bool(words) and words[-1].endswith(PREDICT)

    async def content(self, words: list[str], receive: Receive) -> object:
        """The models, or whether one is ready."""
        del receive
        match words:
            case ["models"]:
                return {"models": names_of(self._endpoints)}
            case ["models", name]:
                target = await self._targets.of_model([name])
                return {"name": name, "ready": target.served.ready}
        raise EndpointNotFound("No endpoint has this path.")
