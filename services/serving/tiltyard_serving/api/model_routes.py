"""What the protocols have in common that tell of the models, and answer for them, below a path of their own."""

from abc import ABC, abstractmethod
from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.server.direct import Reply
from tiltyard_serving.scoring.protocols.open_inference import in_shape, refusal
from tiltyard_serving.scoring.replies import method_not_allowed, respond
from tiltyard_serving.scoring.targets import words_of


class ModelRoutes(ABC):
    """Everything under the path of one protocol."""

    def __init__(self, scoring: ASGIApp) -> None:
        self._scoring = scoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
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
