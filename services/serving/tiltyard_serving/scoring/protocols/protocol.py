"""What a scoring protocol is: how it reads a request, and how it words the answer."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tiltyard.pyfunc.payload.decoder import Body, Payload
from tiltyard.server.direct import Header, Reply
from tiltyard_serving.models.loaded_model import Encode, LoadedModel
from tiltyard_serving.scoring.request_head import RequestHead


class AnswerFormat(Protocol):
    """How the answer to one request is written: by `encode`, None for the model's own step, which writes JSON.

    Once it is written its content type and its other headers are right.
    """

    @property
    def content_type(self) -> bytes: ...
    @property
    def headers(self) -> tuple[Header, ...]: ...
    @property
    def encode(self) -> Encode | None: ...

    def comparable(self, answer: bytes) -> Callable[[], bytes] | None:
        """What gives the predictions as the model's own step writes them; None where they are not at hand."""


# What a request asks the model, and how it wants the answer.
Decoded = tuple[Payload, AnswerFormat]


class ScoringProtocol(NamedTuple):
    """One protocol.

    `at_once` reads a body where that is brief enough for the event loop, and gives None where it is not; `decode`
    reads any, in a thread. Both raise a TiltyardError for what they refuse. `refusal` is the answer that says what
    is wrong, in the protocol's shape. Where it `gzips`, answers are compressed for those who accept that.
    """

    at_once: Callable[[LoadedModel, Body, RequestHead], Decoded | None]
    decode: Callable[[LoadedModel, Body, RequestHead], Decoded]
    refusal: Callable[[Exception, str | None], Reply]
    gzips: bool = False


async def ask(protocol: ScoringProtocol, body: Body, head: RequestHead, model: LoadedModel) -> bytes:
    """What another model answers to a request, as its own step writes it."""
    decoded = protocol.at_once(model, body, head)
    if decoded is None:
        decoded = await asyncio.to_thread(protocol.decode, model, body, head)
    return await model.answer(decoded[0])
