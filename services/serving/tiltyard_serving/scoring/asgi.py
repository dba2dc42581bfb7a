"""Scoring requests as an ASGI application, past the framework: it would cost more than the request itself."""

import asyncio
import gzip
from functools import partial
from typing import cast

from litestar.types import HTTPScope, Receive, Scope, Send

from tiltyard.server.direct import Reply
from tiltyard_serving.scoring.bodies import inflated, read_body
from tiltyard_serving.scoring.call import Scoring, ScoringCall
from tiltyard_serving.scoring.in_flight import ClientDisconnected
from tiltyard_serving.scoring.protocols.protocol import ScoringProtocol
from tiltyard_serving.scoring.replies import method_not_allowed, respond
from tiltyard_serving.scoring.request_head import RequestHead
from tiltyard_serving.scoring.targets import ScoringTargets

_GZIP_FROM_BYTES = 1024


class AsgiScoring:
    """Answers the scoring requests of one protocol."""

    def __init__(self, scoring: Scoring, targets: ScoringTargets, protocol: ScoringProtocol) -> None:
        self._scoring = scoring
        self._targets = targets
        self._protocol = protocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = cast("HTTPScope", scope)
        if request["method"] != "POST":
            await respond(send, method_not_allowed(request["method"], "POST"))
            return
        headers = list(request["headers"])
        head = RequestHead(request["path"], headers, self._scoring.callers.of(headers))
        call = AsgiCall(self._scoring, self._protocol, head, receive)
        try:
            await self._begin(call, receive)
            await call.answer
        except asyncio.CancelledError:
            if not call.is_interrupted:
                call.end(ClientDisconnected())
                raise
        except Exception as error:
            call.end(error)
        finally:
            call.close()
        reply = call.answer.result()
        if reply is None:
            return
        if reply.status == 413 and not call.has_body:
            # The rest of the body is not read, so the connection cannot be used again.
            reply = reply.adding(b"connection", b"close")
        await respond(send, await self._packed(head, reply))

    async def _begin(self, call: "AsgiCall", receive: Receive) -> None:
        scoring, head = self._scoring, call.head
        hold = partial(scoring.in_flight.hold, call)
        body = await read_body(receive, scoring.max_body_bytes, head.size_bytes, hold)
        call.has_body = True
        if encoding := head.header(b"content-encoding"):
            body = await inflated(body, encoding, scoring.max_inflated_bytes, hold)
        target = await self._targets.find(head.path, head.headers)
        # From here to the lease nothing is awaited.
        reading = call.begin(target, body)
        if reading is not None:
            call.decoded(await asyncio.to_thread(reading))
        call.is_reading = False

    async def _packed(self, head: RequestHead, reply: Reply) -> Reply:
        if not self._protocol.gzips or reply.status != 200 or len(reply.body) < _GZIP_FROM_BYTES:
            return reply
        if "gzip" not in (head.header(b"accept-encoding") or ""):
            return reply
        packed = await asyncio.to_thread(gzip.compress, reply.body, 1)
        return reply._replace(body=packed).adding(b"content-encoding", b"gzip")


class AsgiCall(ScoringCall):
    """A request whose body a task reads, and whose answer it waits for.

    Attributes:
        answer: done with the reply; None where the caller has gone.
        is_reading: whether the task is still at what comes before the wait.
        is_interrupted: whether the call ended meanwhile, so that what the task was at was cancelled.
    """

    __slots__ = ("_receive", "_task", "_watch", "answer", "is_interrupted", "is_reading")

    def __init__(self, scoring: Scoring, protocol: ScoringProtocol, head: RequestHead, receive: Receive) -> None:
        super().__init__(scoring, protocol, head)
        self.answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self.is_reading = True
        self.is_interrupted = False
        self._receive = receive
        self._task = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None

    def reply(self, reply: Reply | None) -> None:
        if self.is_reading and self._task is not None and asyncio.current_task() is not self._task:
            self.is_interrupted = True
            self._task.cancel()
        if not self.answer.done():
            self.answer.set_result(reply)

    def watch(self) -> None:
        """From now on, ends it when the caller leaves. Reading a body notices that by itself."""
        if self.has_body and self._watch is None:
            self._watch = asyncio.create_task(self._until_gone())

    def close(self) -> None:
        """Ends the watch. A cancellation that the call asked for has been dealt with."""
        if self._watch is not None:
            self._watch.cancel()
            # A cancelled task holds on to what it waited for: together they would keep the model until a collection.
            self._watch = None
        if self.is_interrupted and self._task is not None:
            self._task.uncancel()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.end(ClientDisconnected())
