"""The Open Inference Protocol under /v2/, and KServe's V1 under /v1/: the models there are, and their predictions.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. Its requests hold
`instances` or `inputs`, as one to `/invocations` may.
"""

import asyncio
from importlib.metadata import version

from litestar.types import ASGIApp, Receive

from tiltyard.errors import EndpointNotFound, TemporarilyUnavailable
from tiltyard_serving.api.model_repository import EXTENSIONS as REPOSITORY_EXTENSIONS
from tiltyard_serving.api.model_repository import ModelRepository, names_of
from tiltyard_serving.api.model_routes import ModelRoutes
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.scoring.protocols import infer_messages
from tiltyard_serving.scoring.targets import PREDICT, ScoringTargets

EXTENSIONS = ["binary_tensor_data", *REPOSITORY_EXTENSIONS]


class V2(ModelRoutes):
    """Everything under /v2/."""

    def __init__(
        self,
        scoring: ASGIApp,
        targets: ScoringTargets,
        endpoints: EndpointTable,
        telemetry: Telemetry,
        draining: asyncio.Event,
    ) -> None:
        super().__init__(scoring)
        self._targets = targets
        self._endpoints = endpoints
        self._repository = ModelRepository(endpoints, telemetry, targets)
        self._draining = draining

    def scores(self, words: list[str]) -> bool:
        """At `models/NAME/infer`, of the current version or a named one."""
        return words[-1:] == ["infer"]

    def is_posted(self, words: list[str]) -> bool:
        """The model repository is."""
        return words[:1] == ["repository"]

    async def content(self, words: list[str], receive: Receive) -> object:
        """Health and metadata, of the server and of models, and what the extensions tell."""
        if ModelRepository.has(words):
            return await self._repository.content(words, receive)
        match words:
            case []:
                return {"name": "tiltyard", "version": version("tiltyard"), "extensions": EXTENSIONS}
            case ["health", "live"]:
                return {"live": True}
            case ["health", "ready"]:
                self._check_ready()
                return {"ready": True}
            case ["models", *names, "ready"]:
                target = await self._targets.of_model(names)
                with target.served.slot.lease() as model:
                    return {"name": names[0], "ready": not model.closed}
            case ["models", *names]:
                target = await self._targets.of_model(names)
                with target.served.slot.lease() as model:
                    return infer_messages.about(names[0], model.version, model.signature)
        raise EndpointNotFound("No endpoint has this path.")

    def _check_ready(self) -> None:
        if self._draining.is_set():
            raise TemporarilyUnavailable("This process is stopping.", retry_after_s=1)
        if missing := self._endpoints.missing:
            names = ", ".join(served.label for served in missing[:10])
            raise TemporarilyUnavailable(f"Not every configured model is loaded yet: {names}.", retry_after_s=1)


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
