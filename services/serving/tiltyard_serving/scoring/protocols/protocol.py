"""What a scoring protocol is: how it reads a request, and how it words the answer."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from tiltyard.pyfunc.payload.decoder import Body, Payload
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.scoring.formats import Format
from tiltyard_serving.scoring.replies import Reply
from tiltyard_serving.scoring.request_head import RequestHead


class Request:
    """One request as its protocol has read it: the payload, and the format in which its answer is wanted."""

    __slots__ = ("format", "payload")

    def __init__(self, payload: Payload, form: Format) -> None:
        self.payload = payload
        self.format = form

    def reply(self, answer: bytes) -> Reply:
        """The answer that was written as a whole one."""
        return Reply(200, answer, self.format.content_type)

    def comparable(self, answer: bytes) -> Callable[[], bytes] | None:
        """What gives the predictions as the model's own step writes them; None where they are not at hand."""
        return (lambda: answer) if self.format.encode is None else None


class ScoringProtocol(NamedTuple):
    """One protocol.

    `at_once` reads a body where that is brief enough for the event loop, and gives None where it is not; `decode`
    reads any, in a thread. Both raise a TiltyardError for what they refuse. `refusal` is the answer that says what
    is wrong, in the protocol's shape. Where it `gzips`, answers are compressed for those who accept that.
    """

    at_once: Callable[[LoadedModel, Body, RequestHead], Request | None]
    decode: Callable[[LoadedModel, Body, RequestHead], Request]
    refusal: Callable[[Exception, str | None], Reply]
    gzips: bool = False


async def ask(protocol: ScoringProtocol, body: Body, head: RequestHead, model: LoadedModel) -> bytes:
    """What another model answers to a request, as its own step writes it."""
    request = protocol.at_once(model, body, head)
    if request is None:
        request = await asyncio.to_thread(protocol.decode, model, body, head)
    return await model.submit(request.payload)
