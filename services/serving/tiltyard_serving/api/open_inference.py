"""The Open Inference Protocol under /v2/: health, metadata and infer, for its clients and KServe."""

import asyncio
import gzip
import time
from functools import partial
from importlib.metadata import version
from typing import Any

import msgspec
from litestar.types import HTTPScope, Receive, Scope, Send

from tiltyard.errors import (
    BadRequest,
    EndpointNotFound,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
    UnsupportedMediaType,
)
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard_serving.api.model_repository import EXTENSIONS as REPOSITORY_EXTENSIONS
from tiltyard_serving.api.model_repository import ModelRepository
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.endpoints.shadow import Shadow
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.operations.memory import decoding
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.operations.payload_log import PayloadLog
from tiltyard_serving.scoring.asgi import Invocations, ScoringTarget, submit
from tiltyard_serving.scoring.bodies import header, request_id
from tiltyard_serving.scoring.in_flight import Call, InFlight
from tiltyard_serving.scoring.protocols import infer_messages, open_inference, tensor_payload
from tiltyard_serving.scoring.protocols.infer_messages import InferRequest, RequestedOutput
from tiltyard_serving.scoring.replies import JSON, Reply, error_reply, method_not_allowed, respond
from tiltyard_serving.settings import ServingSettings

BINARY = b"application/octet-stream"
JSON_LENGTH = b"inference-header-content-length"
EXTENSIONS = ["binary_tensor_data", *REPOSITORY_EXTENSIONS]

_GZIP_FROM_BYTES = 1024
_OF_FORMS = frozenset({"text/plain", "multipart/form-data", "application/x-www-form-urlencoded"})


class Infer(Invocations):
    """POST …/infer: the same calls, deadlines and trials as `Invocations`, in the other protocol."""

    async def _answer(self, call: Call, request: HTTPScope, receive: Receive) -> Reply:
        body = await self._body(call, request, receive)
        _check_media_type(header(request, b"content-type"))
        json_bytes = _json_bytes(header(request, JSON_LENGTH))
        began_s = time.perf_counter()
        inline = open_inference.is_brief(body, json_bytes)
        asked, arrays = (
            open_inference.read(body, json_bytes, self._bounds)
            if inline
            else await asyncio.to_thread(_read, body, json_bytes, self._bounds)
        )
        parsed_at_s = time.perf_counter()
        way = await self._route(request)
        head: list[int | None] = []
        given: list[Any] = []
        with way.served.slot.lease() as model:
            call.model, call.trial = model, way.served.trial
            call.ask = partial(_ask_again, asked, arrays)
            name, number = model.name, model.version

            def encode(predictions: Any) -> bytes:
                content, size_bytes = open_inference.write(predictions, asked, name, number)
                head.append(size_bytes)
                if way.shadow is not None:
                    given.append(predictions)
                return content

            make = tensor_payload.to_payload
            payload = (
                make(asked, arrays, model.signature)
                if inline and open_inference.is_brief_to_convert(len(body), model.signature)
                else await asyncio.to_thread(make, asked, arrays, model.signature)
            )
            self._bounds.check_rows(payload.rows)
            payload.parsed_at_s = parsed_at_s
            answer = await submit(call, model, payload, began_s, encode)
        if self._payload_log is not None:
            seconds = time.perf_counter() - call.began_s
            named, content_type = request_id(request), header(request, b"content-type")
            self._payload_log.offer(name, number, seconds, named, content_type, body, answer)
        if way.shadow is not None and given:
            _mirror(way.shadow, asked, arrays, given[-1])
        reply = Reply(200, answer, JSON)
        if head and head[-1] is not None:
            reply = Reply(200, answer, BINARY, ((JSON_LENGTH, b"%d" % head[-1]),))
        accepted = header(request, b"accept-encoding") or ""
        if "gzip" in accepted and len(answer) >= _GZIP_FROM_BYTES:
            packed = await asyncio.to_thread(gzip.compress, answer, 1)
            return reply._replace(body=packed).adding(b"content-encoding", b"gzip")
        return reply

    def refusal(self, error: Exception, named: str | None) -> Reply:
        """The answer that says what is wrong, in this protocol's shape."""
        return refusal(error, named)


def _read(body: bytes, json_bytes: int | None, bounds: Bounds) -> tuple[InferRequest, dict[str, Any]]:
    with decoding(len(body)):
        return open_inference.read(body, json_bytes, bounds)


async def _ask_again(asked: InferRequest, arrays: dict[str, Any], model: LoadedModel) -> object:
    payload = await asyncio.to_thread(tensor_payload.to_payload, asked, arrays, model.signature)
    return await model.submit(payload)


def _mirror(shadow: Shadow, asked: InferRequest, arrays: dict[str, Any], predictions: Any) -> None:
    """Asks the shadow the same; both answers are compared as JSON under one name."""
    outputs = None if asked.outputs is None else [RequestedOutput(output.name) for output in asked.outputs]
    known = {name: value for name, value in asked.parameters.items() if name != "binary_data_output"}
    plain = InferRequest(asked.inputs, asked.id, known, outputs)

    def encode(predictions: Any) -> bytes:
        return open_inference.write(predictions, plain, "", "")[0]

    async def ask(model: LoadedModel) -> bytes:
        return await model.submit(tensor_payload.to_payload(asked, arrays, model.signature), encode)

    shadow.compare(ask, lambda: encode(predictions))


class V2:
    """Everything under /v2/."""

    def __init__(
        self,
        settings: ServingSettings,
        telemetry: Telemetry,
        endpoints: EndpointTable,
        in_flight: InFlight,
        draining: asyncio.Event,
        payload_log: PayloadLog | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._repository = ModelRepository(endpoints, telemetry, self.find)
        self._infer = Infer(settings, telemetry, self._way, in_flight, payload_log)
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Any = scope
        if request["method"] == "POST" and _parts(request)[-1] == "infer":
            await self._infer(scope, receive, send)
            return
        try:
            if ModelRepository.has(_parts(request)):
                reply = await self._repository.reply(_parts(request), request, receive)
            else:
                reply = await self._about(request)
        except Exception as error:
            reply = refusal(error)
        await respond(send, reply)

    async def _about(self, request: HTTPScope) -> Reply:
        parts = _parts(request)
        allowed = "POST" if parts[-1] == "infer" else "GET"
        if request["method"] != allowed:
            return in_shape(method_not_allowed(request["method"], allowed))
        match parts:
            case [""]:
                return _json({"name": "tiltyard", "version": version("tiltyard"), "extensions": EXTENSIONS})
            case ["health", "live"]:
                return _json({"live": True})
            case ["health", "ready"]:
                self._check_ready()
                return _json({"ready": True})
            case ["models", *rest] if rest and rest[-1] == "ready":
                way = await self.find(rest[:-1])
                with way.served.slot.lease() as model:
                    return _json({"name": rest[0], "ready": not model.closed})
            case ["models", *rest]:
                way = await self.find(rest)
                with way.served.slot.lease() as model:
                    return _json(infer_messages.about(rest[0], model.version, model.signature))
        raise EndpointNotFound("No endpoint has this path.")

    def _check_ready(self) -> None:
        if self._draining.is_set():
            raise TemporarilyUnavailable("This process is stopping.", retry_after_s=1)
        if missing := self._endpoints.missing:
            names = ", ".join(served.label for served in missing[:10])
            raise TemporarilyUnavailable(f"Not every configured model is loaded yet: {names}.", retry_after_s=1)

    async def _way(self, request: HTTPScope) -> ScoringTarget:
        parts = _parts(request)
        if parts[0] != "models":
            raise EndpointNotFound("No endpoint has this path.")
        return await self.find(parts[1:-1], request)

    async def find(self, parts: list[str], request: HTTPScope | None = None) -> ScoringTarget:
        """The model of NAME or NAME/versions/VERSION: a named endpoint, or a registered model as `NAME@ALIAS`."""
        match parts:
            case [name] if name in self._endpoints.by_name:
                endpoint = self._endpoints.named(name)
                if request is None:
                    return ScoringTarget(endpoint.members[0].served)
                return ScoringTarget(endpoint.choose(request["headers"]), endpoint.shadow)
            case [name] if "@" in name:
                model, _, alias = name.partition("@")
                return ScoringTarget(await self._endpoints.of_alias(model, alias))
            case [name, "versions", number] if name in self._endpoints.by_name:
                for served in self._endpoints.named(name):
                    if served.slot.current is not None and served.slot.current.version == number:
                        return ScoringTarget(served)
                raise ResourceDoesNotExist(f"The endpoint '{name}' serves no version '{number[:100]}'.")
            case [name, "versions", number]:
                return ScoringTarget(await self._endpoints.of_model(name, number))
            case [name]:
                raise ResourceDoesNotExist(f"There is no serving endpoint '{name[:300]}'.")
        raise EndpointNotFound("No endpoint has this path.")


def refusal(error: Exception, request_id: str | None = None) -> Reply:
    """The answer that says what is wrong, in this protocol's shape."""
    return in_shape(error_reply(error, request_id))


def _check_media_type(content_type: str | None) -> None:
    """Refuses what any page may send to any site, without a browser asking first whether it may.

    Raises:
        UnsupportedMediaType
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type in _OF_FORMS:
        raise UnsupportedMediaType(f"The content type '{media_type}' is not read here, expected application/json.")


def in_shape(reply: Reply) -> Reply:
    """The refusal `reply` as this protocol words it."""
    try:
        message = msgspec.json.decode(reply.body)["message"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        message = reply.body.decode(errors="replace")
    return reply._replace(body=msgspec.json.encode({"error": message}), content_type=JSON)


def _json(content: Any) -> Reply:
    return Reply(200, msgspec.json.encode(content))


def _json_bytes(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadRequest(f"Inference-Header-Content-Length must be a number of bytes, got '{text[:40]}'.")
    return int(text)


def _parts(request: HTTPScope) -> list[str]:
    return request["path"].strip("/").split("/")
