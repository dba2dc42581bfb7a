"""One scoring request while it is being answered, the same in every protocol and on every way in."""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial

from tiltyard.errors import BadRequest, DeadlineExceeded, InternalError, PermissionDenied, Unauthenticated
from tiltyard.pyfunc.payload.decoder import Body
from tiltyard.server.body_memory import Held
from tiltyard.server.direct import Header, Reply
from tiltyard_serving.auth.callers import Callers
from tiltyard_serving.batching.batch import Times
from tiltyard_serving.endpoints.endpoint import ScoringTarget
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.models.trial import Trial
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.operations.payload_log import PayloadLog
from tiltyard_serving.scoring.access_log import AccessLog
from tiltyard_serving.scoring.in_flight import ClientDisconnected, InFlight
from tiltyard_serving.scoring.protocols.protocol import AnswerFormat, Decoded, ScoringProtocol, ask
from tiltyard_serving.scoring.request_head import TIMEOUT_HEADER, RequestHead
from tiltyard_serving.settings import ServingSettings

MODEL_HEADER = b"x-tiltyard-model"


class Scoring:
    """What the calls of one process share."""

    def __init__(
        self, settings: ServingSettings, telemetry: Telemetry, callers: Callers, payload_log: PayloadLog | None
    ) -> None:
        self.callers = callers
        self.max_body_bytes = settings.max_body_bytes
        self.max_inflated_bytes = settings.max_inflated_bytes or settings.max_body_bytes
        self.in_flight = InFlight(settings.request_timeout_s, settings.max_arriving_bytes, telemetry.in_flight.set)
        self.requests = telemetry.requests
        self.payload_log = payload_log
        self.access_log = AccessLog() if settings.access_log else None


class ScoringCall(ABC):
    """One request, from its head to its answer. It does no input or output, and waits for nothing.

    A way in makes one when a head is there, and tells it `begin` when the body is. What `begin` gives is to be run
    elsewhere, and what comes of that goes to `decoded`. Then the call is what the batcher gives an answer or an error
    to. `end` may come at any time: from the deadline, from a caller who leaves, from whatever else fails. Then
    `reply` is called, once.
    """

    __slots__ = (
        "_body",
        "_done",
        "_format",
        "_lease",
        "_model",
        "_parse_s",
        "_reading_since_s",
        "_target",
        "_times",
        "_trial",
        "_validate_s",
        "began_s",
        "has_body",
        "head",
        "held",
        "protocol",
        "scoring",
    )

    def __init__(self, scoring: Scoring, protocol: ScoringProtocol, head: RequestHead) -> None:
        self.began_s = time.perf_counter()
        self.scoring = scoring
        self.protocol = protocol
        self.head = head
        self.held: Held | None = None
        # From when on it is the server's fault if there is no answer in time.
        self.has_body = False
        self._done = False
        self._body: Body = b""
        self._target: ScoringTarget | None = None
        self._lease: AbstractContextManager[LoadedModel] | None = None
        self._model: LoadedModel | None = None
        self._format: AnswerFormat | None = None
        self._times: Times | None = None
        scoring.in_flight.add(self)

    @property
    def timeout_s(self) -> float:
        """The caller's own limit."""
        return self.head.timeout_s

    @abstractmethod
    def reply(self, reply: Reply | None) -> None:
        """Gives the answer, once; None where the caller has gone, and nobody waits for one."""

    @abstractmethod
    def watch(self) -> None:
        """From now on, ends it when the caller leaves."""

    def begin(self, target: ScoringTarget, body: Body) -> Callable[[], Decoded] | None:
        """Leases a version of the target, and reads and submits the body where that is brief.

        Gives what reads it in a thread where it is not. Every way in comes through here: who may not have
        predictions of the target gets none.

        Raises:
            BadRequest: the head is not in order.
            Unauthenticated, PermissionDenied: the caller may not.
            TiltyardError: there is no version, the body is refused, or too much is waiting.
        """
        head, served = self.head, target.served
        if head.fault is not None:
            raise BadRequest(head.fault)
        if head.caller is None:
            raise Unauthenticated("This server answers nobody who has not said who they are.")
        if not self.scoring.callers.may_score(head.caller, served):
            raise PermissionDenied(f"You may not have predictions of the model {served.label}.")
        self._body = body
        self._target = target
        # Until it is done, whatever comes of it.
        self._lease = lease = served.slot.lease()
        self._model = model = lease.__enter__()
        self._trial: Trial | None = served.trial
        self._reading_since_s = time.perf_counter()
        decoded = self.protocol.at_once(model, body, head)
        if decoded is None:
            return partial(self.protocol.decode, model, body, head)
        self._submit(model, decoded)
        return None

    def decoded(self, decoded: Decoded) -> None:
        """Submits what was read elsewhere, unless the call has ended meanwhile.

        Raises:
            RequestLimitExceeded: too much is waiting.
            NothingDone: all bodies together, and what was read of them, would take too much memory.
        """
        if self._model is not None:
            self.scoring.in_flight.hold_decoded(self, decoded[0].memory_bytes)
            self._submit(self._model, decoded)

    def _submit(self, model: LoadedModel, decoded: Decoded) -> None:
        payload, self._format = decoded
        read_s = time.perf_counter()
        parsed_s = payload.parsed_at_s or read_s
        self._parse_s, self._validate_s = parsed_s - self._reading_since_s, read_s - parsed_s
        model.meter.read(self._parse_s, self._validate_s)
        self._times = times = Times()
        model.submit(self, payload, decoded[1].encode, times)

    def expire(self, limit_s: float) -> None:
        """Ends it because its time is over: the server's fault only once the server has the body."""
        name = TIMEOUT_HEADER.decode() if self.timeout_s < limit_s else "request_timeout_s"
        limit = f"the limit '{name}' of {min(self.timeout_s, limit_s):g} seconds."
        if self.has_body:
            self.end(DeadlineExceeded(f"Request processing time exceeded limit: {limit}"))
        else:
            self.end(BadRequest(f"The request body did not arrive in time, by {limit}"))

    def end(self, reason: BaseException) -> None:
        """Answers the request with `reason`, unless it is answered."""
        if not self._done:
            self.set_exception(reason)

    # --- A waiter -------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it is answered."""
        return self._done

    def set_result(self, answer: bytes) -> None:
        """Answers it with what the model said."""
        head, model, target, form = self.head, self._model, self._target, self._format
        if model is None or target is None or form is None:
            # Only what was submitted is answered.
            return
        if (payload_log := self.scoring.payload_log) is not None:
            took_s = time.perf_counter() - self.began_s
            payload_log.offer(model.name, model.version, took_s, head.request_id, head.content_type, self._body, answer)
        if target.shadow is not None and (comparable := form.comparable(answer)) is not None:
            target.shadow.compare(self._asking(), comparable)
        self._finish((200, answer, form.content_type, form.headers), None)

    def set_exception(self, error: BaseException) -> None:
        """Answers it with an error."""
        # What failed, or ran out of time, has no times to tell.
        self._times = None
        if isinstance(error, ClientDisconnected):
            self._finish(None, error)
        else:
            failure = error if isinstance(error, Exception) else InternalError("Internal error.")
            self._finish(self.protocol.refusal(failure, self.head.request_id), failure)

    def _finish(self, told: tuple[int, bytes, bytes, tuple[Header, ...]] | None, failure: Exception | None) -> None:
        reply = None
        if told is not None:
            status, body, content_type, headers = told
            reply = Reply(status, body, content_type, headers + self._told(status, failure) + self.head.echo)
        self._done = True
        self.scoring.in_flight.remove(self)
        if self._lease is not None:
            self._lease.__exit__(None, None, None)
        # Whoever still knows the call must keep neither a body nor a model.
        self._body = b""
        self._format = self._target = self._lease = self._model = self._trial = None
        self.reply(reply)

    def _told(self, status: int, failure: Exception | None) -> tuple[Header, ...]:
        """Counts the answer, and gives the headers that say how it was made."""
        scoring, model, times = self.scoring, self._model, self._times
        took_s = time.perf_counter() - self.began_s
        if scoring.access_log is not None:
            scoring.access_log.note(self.head.path, status, took_s, model, self.head.request_id)
        if model is None:
            scoring.requests.labels("", "", str(status)).inc()
            return ()
        if self._trial is not None:
            self._trial.count(model, failure, self._asking, took_s)
        model.meter.answered(status, took_s)
        if times is None:
            return ((MODEL_HEADER, model.header),)
        timing = b"parse;dur=%.3f, validate;dur=%.3f, queue;dur=%.3f, predict;dur=%.3f, encode;dur=%.3f" % (
            self._parse_s * 1e3,
            self._validate_s * 1e3,
            times.queue_s * 1e3,
            times.predict_s * 1e3,
            times.encode_s * 1e3,
        )
        return ((MODEL_HEADER, model.header), (b"server-timing", timing))

    def _asking(self) -> Callable[[LoadedModel], Awaitable[bytes]]:
        """What asks another version the same."""
        return partial(ask, self.protocol, self._body, self.head)
