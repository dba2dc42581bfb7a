"""One scoring request and its answer, on the connection that it came on."""

import asyncio
import time
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InternalError, NothingDone
from tiltyard.pyfunc.payload.decoder import Body, Payload
from tiltyard.server.body_memory import FREE_BYTES
from tiltyard_serving.batching.batch import Times
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.models.trial import Ask
from tiltyard_serving.scoring.asgi import ScoringTarget, ask_again
from tiltyard_serving.scoring.in_flight import ClientDisconnected, Pending
from tiltyard_serving.scoring.replies import Reply
from tiltyard_serving.scoring.request_head import RequestHead

if TYPE_CHECKING:
    from tiltyard_serving.scoring.connection import DirectConnection
    from tiltyard_serving.scoring.large_body import LargeBody


class Exchange(Pending):
    """A cycle to uvicorn, a waiter to the batcher, a call in flight to the sweep."""

    __slots__ = (
        "_began_s",
        "_body",
        "_chunks",
        "_connection",
        "_done",
        "_lease",
        "_received_bytes",
        "_receiver",
        "_way",
        "disconnected",
        "head",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(self, connection: "DirectConnection", head: RequestHead) -> None:
        super().__init__()
        self.head = head
        # That of the connection: so uvicorn knows that the head is there.
        self.scope: Any = connection.scope
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = head.keep_alive and not connection.arrivals.stopping
        self._connection = connection
        self._received_bytes = 0
        self._receiver: LargeBody | None = None
        self._chunks: list[Body] = []
        self._body: Body = b""
        self._began_s = 0.0
        self._way: ScoringTarget | None = None
        self._lease: AbstractContextManager[LoadedModel] | None = None
        self._done = False
        connection.direct.in_flight.add(self)

    @property
    def message_event(self) -> "Exchange":
        """What uvicorn sets when more has come, or when the caller has left."""
        return self

    @property
    def missing_bytes(self) -> int:
        """How much of its body has not come."""
        return self.head.size_bytes - self._received_bytes

    def add(self, chunk: Body) -> None:
        """Takes the next piece of the body; what comes after the answer is counted and thrown away."""
        self.count(len(chunk))
        if not self._done:
            self._chunks.append(chunk)

    def count(self, size_bytes: int) -> None:
        """Counts what has come of the body; answers the request when all bodies together would take too much."""
        self._received_bytes += size_bytes
        if self._received_bytes > FREE_BYTES and not self._done:
            try:
                self._connection.direct.in_flight.hold(self, size_bytes)
            except NothingDone as error:
                self.set_exception(error)

    def give(self, body: Body) -> None:
        """Takes the whole body, which is counted already."""
        self._chunks.append(body)

    def received_by(self, receiver: "LargeBody") -> bytes:
        """What has come of the body, to be given again with the rest of it, which `receiver` takes from now on."""
        self._receiver = receiver
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    def set(self) -> None:
        """More has come: begins once it is all."""
        if self.disconnected:
            self.end(ClientDisconnected())
        elif not (self.more_body or self.has_body or self._done):
            self.take(self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks))

    def take(self, body: Body) -> None:
        """Begins, now that the body is there."""
        self.more_body = False
        self.has_body = True
        self._chunks.clear()
        self._body = body
        head = self.head
        try:
            self.limit(head.timeout)
            self._way = way = head.find(head.scope)
            # Until it is done, whatever comes of it.
            self._lease = lease = way.served.slot.lease()
            self.model = model = lease.__enter__()
            self.trial = way.served.trial
            self._began_s = time.perf_counter()
            if (payload := model.decode_at_once(body, head.content_type)) is not None:
                self._submit(model, payload)
            else:
                loop = asyncio.get_running_loop()
                decoding = loop.run_in_executor(None, model.decode, body, head.content_type)
                decoding.add_done_callback(self._decoded)
        except Exception as error:
            self.set_exception(error)

    def _decoded(self, decoding: "asyncio.Future[Payload]") -> None:
        # Its deadline may be over, or its caller gone: then the lease is too.
        error = decoding.exception()
        if self._done or self.model is None:
            return
        try:
            if error is not None:
                raise error
            self._submit(self.model, decoding.result())
        except Exception as refusal:
            self.set_exception(refusal)

    def _submit(self, model: LoadedModel, payload: Payload) -> None:
        self.read(model, payload, self._began_s)
        self.times = Times()
        model.submit_for(self, payload, self.head.format.encode, self.times)

    def end(self, reason: Exception) -> None:
        """Answers the request with `reason`, unless it is answered."""
        if not self._done:
            self.set_exception(reason)

    def asking(self) -> Ask | None:
        """What asks another version the same."""
        return partial(ask_again, self._body, self.head.content_type)

    def watch(self) -> None:
        """uvicorn tells at once of a caller who leaves."""

    # --- A waiter -------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it is answered."""
        return self._done

    def set_result(self, answer: bytes) -> None:
        """Answers it."""
        head, way, model = self.head, self._way, self.model
        if way is not None and model is not None:
            invocations = self._connection.direct.invocations
            invocations.record(self, way, model, head.named, head.content_type, self._body, head.format, answer)
        self._finish(Reply(200, answer, head.format.content_type), None)

    def set_exception(self, error: BaseException) -> None:
        """Answers it with an error."""
        failure = error if isinstance(error, Exception) else InternalError("Internal error.")
        # What failed, or ran out of time, has no times to tell.
        self.times = None
        self._finish(self._connection.direct.invocations.refusal(failure, self.head.named), failure)

    def _finish(self, reply: Reply, failure: Exception | None) -> None:
        self._done = True
        direct = self._connection.direct
        direct.in_flight.remove(self)
        if self._lease is not None:
            self._lease.__exit__(None, None, None)
        if not isinstance(failure, ClientDisconnected):
            invocations, head = direct.invocations, self.head
            reply = invocations.finished(self, reply, failure)
            if head.echo:
                reply = Reply(reply.status, reply.body, reply.content_type, (*reply.headers, *head.echo))
            if invocations.access_log is not None:
                invocations.access_log.note(self, head.path, reply.status, head.named)
            self._connection.write(self, reply)
        # A connection whose caller sends on knows it for longer: it must keep neither a body nor a model.
        self._body, self.model, self._way, self._lease = b"", None, None, None
        self._chunks.clear()
        if self._receiver is not None:
            self._receiver.drop()
            self._receiver = None
