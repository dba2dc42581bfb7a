"""POST …/invocations: bytes in, predictions out, one version for the whole request.

A raw ASGI application: the framework around it would cost more than the request itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, cast

from litestar.types import HTTPScope, Receive, Scope, Send

from tiltyard.errors import PayloadTooLarge
from tiltyard.pyfunc.payload.decoder import Body, Payload
from tiltyard.telemetry.request_id import REQUEST_ID_HEADER
from tiltyard_serving.batching.batch import Times
from tiltyard_serving.endpoints.shadow import Shadow
from tiltyard_serving.models.loaded_model import Encode, LoadedModel
from tiltyard_serving.models.served_model import ServedModel
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.operations.payload_log import PayloadLog
from tiltyard_serving.scoring.access_log import AccessLog
from tiltyard_serving.scoring.bodies import header, inflated, read_body, request_id
from tiltyard_serving.scoring.formats import Format, wanted
from tiltyard_serving.scoring.in_flight import TIMEOUT_HEADER, Call, ClientDisconnected, InFlight, Pending
from tiltyard_serving.scoring.replies import Reply, error_reply, method_not_allowed, respond
from tiltyard_serving.settings import ServingSettings

MODEL_HEADER = b"x-tiltyard-model"


class ScoringTarget(NamedTuple):
    """What answers a request, and what gets a copy of it."""

    served: ServedModel
    shadow: Shadow | None = None


Route = Callable[[HTTPScope], Awaitable[ScoringTarget]]


class Invocations:
    """Answers scoring requests with the model that `route` finds for them."""

    def __init__(
        self,
        settings: ServingSettings,
        telemetry: Telemetry,
        route: Route,
        in_flight: InFlight,
        payload_log: PayloadLog | None = None,
    ) -> None:
        self.max_body_bytes = settings.max_body_bytes
        self._max_inflated_bytes = settings.max_inflated_bytes or settings.max_body_bytes
        self._bounds = settings.bounds
        self._requests = telemetry.requests
        self._route = route
        self._in_flight = in_flight
        self._payload_log = payload_log
        self.access_log = AccessLog() if settings.access_log else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = cast("HTTPScope", scope)
        if request["method"] != "POST":
            await respond(send, method_not_allowed(request["method"], "POST"))
            return
        call = Call(receive)
        self._in_flight.add(call)
        failure: Exception | None = None
        try:
            call.limit(header(request, TIMEOUT_HEADER))
            reply = await self._answer(call, request, receive)
        except ClientDisconnected:
            return
        except asyncio.CancelledError:
            if call.ended is None:
                raise
            if isinstance(call.ended, ClientDisconnected):
                return
            failure = call.ended
            reply = self.refusal(failure, request_id(request))
        except Exception as error:
            failure = error
            reply = self.refusal(error, request_id(request))
            if isinstance(error, PayloadTooLarge):
                # The rest of the body is not read, so the connection cannot be used again.
                reply = reply.adding(b"connection", b"close")
        finally:
            self._in_flight.remove(call)
            call.close()
        reply = self.finished(call, reply, failure)
        if named := request_id(request):
            reply = reply.adding(REQUEST_ID_HEADER, named.encode())
        if self.access_log is not None:
            self.access_log.note(call, request["path"], reply.status, named)
        await respond(send, reply)

    async def _answer(self, call: Call, request: HTTPScope, receive: Receive) -> Reply:
        body = await self._body(call, request, receive)
        form = wanted(header(request, b"accept"))
        way = await self._route(request)
        content_type = header(request, b"content-type")
        # From the route to the lease nothing is awaited: what a new configuration closes has no caller left.
        with way.served.slot.lease() as model:
            call.model, call.trial = model, way.served.trial
            if call.trial is not None:
                call.ask = partial(ask_again, body, content_type)
            answer = await _predict(call, model, body, content_type, form.encode)
        self.record(call, way, model, request_id(request), content_type, body, form, answer)
        return Reply(200, answer, form.content_type)

    async def _body(self, call: Call, request: HTTPScope, receive: Receive) -> bytes:
        """The body, whole and without its content encoding."""
        hold = partial(self._in_flight.hold, call)
        body = await read_body(request, receive, self.max_body_bytes, hold)
        call.has_body = True
        if encoding := header(request, b"content-encoding"):
            body = await inflated(body, encoding, self._max_inflated_bytes, hold)
        return body

    def record(
        self,
        call: Pending,
        way: ScoringTarget,
        model: LoadedModel,
        named: str | None,
        content_type: str | None,
        body: Body,
        form: Format,
        answer: bytes,
    ) -> None:
        """Offers a request that was answered to the payload log and to the shadow, where there is one."""
        if self._payload_log is not None:
            seconds = time.perf_counter() - call.began_s
            self._payload_log.offer(model.name, model.version, seconds, named, content_type, body, answer)
        if way.shadow is not None and form.encode is None:
            way.shadow.mirror(body, content_type, answer)

    def refusal(self, error: Exception, named: str | None) -> Reply:
        """The answer that says what is wrong."""
        return error_reply(error, named)

    def finished(self, call: Pending, reply: Reply, failure: Exception | None) -> Reply:
        """Counts the answer, and names the version that gave it."""
        model = call.model
        if model is None:
            self._requests.labels("", "", str(reply.status)).inc()
            return reply
        if call.trial is not None:
            call.trial.count(model, failure, call.asking, time.perf_counter() - call.began_s)
        model.meter.answered(reply.status, time.perf_counter() - call.began_s)
        if (times := call.times) is None:
            return reply.adding(MODEL_HEADER, model.header)
        timing = b"parse;dur=%.3f, validate;dur=%.3f, queue;dur=%.3f, predict;dur=%.3f, encode;dur=%.3f" % (
            call.parse_s * 1e3,
            call.validate_s * 1e3,
            times.queue_s * 1e3,
            times.predict_s * 1e3,
            times.encode_s * 1e3,
        )
        headers = (*reply.headers, (MODEL_HEADER, model.header), (b"server-timing", timing))
        return Reply(reply.status, reply.body, reply.content_type, headers)


async def _predict(
    call: Call, model: LoadedModel, body: bytes, content_type: str | None, encode: Encode | None
) -> bytes:
    began_s = time.perf_counter()
    payload = model.decode_at_once(body, content_type)
    if payload is None:
        payload = await asyncio.to_thread(model.decode, body, content_type)
    return await submit(call, model, payload, began_s, encode)


async def ask_again(body: Body, content_type: str | None, model: LoadedModel) -> object:
    """The answer of `model` to a body that another version was asked with."""
    return await model.submit(await asyncio.to_thread(model.decode, body, content_type))


async def submit(call: Call, model: LoadedModel, payload: Payload, began_s: float, encode: Encode | None) -> bytes:
    """The answer to `payload`, which was being read since `began_s`; `call` learns how long each phase took."""
    call.read(model, payload, began_s)
    times = Times()
    answer = await model.submit(payload, encode, times)
    # A call that failed or ran out of time has no times to tell.
    call.times = times
    return answer
