"""The Open Inference Protocol under /v2/, and KServe's V1 under /v1/: the models there are, and their predictions.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. Its requests hold
`instances` or `inputs`, as one to `/invocations` may.
"""

import asyncio
from abc import ABC, abstractmethod
from importlib.metadata import version
from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import EndpointNotFound
from tiltyard.server.direct import Reply
from tiltyard_serving.api.model_repository import EXTENSIONS as REPOSITORY_EXTENSIONS
from tiltyard_serving.api.model_repository import ModelRepository, names_of
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.scoring.protocols import infer_messages
from tiltyard_serving.scoring.protocols.open_inference import in_shape, refusal
from tiltyard_serving.scoring.replies import method_not_allowed, respond
from tiltyard_serving.scoring.targets import PREDICT, ScoringTargets, words_of


class ModelRoutes(ABC):
    """Everything under the path of one protocol."""

    def __init__(self, scoring: ASGIApp) -> None:
        self._scoring = scoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Any = scope
        words, method = words_of(request["path"])[1:], request["method"]
        scores = self.scores(words)
        if scores and method == "POST":
            await self._scoring(scope, receive, send)
            return
        allowed = "POST" if scores or self.is_posted(words) else "GET"
        try:
            if method == allowed:
                reply = Reply(200, msgspec.json.encode(await self.content(words, receive)))
            else:
                reply = in_shape(method_not_allowed(method, allowed))
        except Exception as error:
            reply = refusal(error)
        await respond(send, reply)

    @abstractmethod
    def scores(self, words: list[str]) -> bool:
        """Whether predictions are asked for at the path of `words`."""

    def is_posted(self, words: list[str]) -> bool:
        """Whether something else is asked there with POST."""
        del words
        return False

    @abstractmethod
    async def content(self, words: list[str], receive: Receive) -> object:
        """What there is at the path of `words`, to be written as JSON.

        Raises:
            EndpointNotFound, ResourceDoesNotExist: there is no such path, no such model.
            TiltyardError: it cannot be told now.
        """


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
                self._endpoints.check_ready(stopping=self._draining.is_set())
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
