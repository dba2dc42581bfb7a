"""One loaded version of a model, ready to answer."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from tiltyard.errors import (
    BadRequest,
    DeadlineExceeded,
    InternalError,
    InvalidModelInput,
    InvalidParameterValue,
    TemporarilyUnavailable,
    TiltyardError,
)
from tiltyard.pyfunc import PyFunc, Signature
from tiltyard.pyfunc.payload import output
from tiltyard.pyfunc.payload.bounds import DEFAULT as DEFAULT_BOUNDS
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.pyfunc.payload.decoder import Body, Decoder, Payload
from tiltyard.pyfunc.payload.memory import memory_bytes
from tiltyard_serving.batching.batch import Limits, Steps, Times, Waiter
from tiltyard_serving.batching.batcher import Batcher
from tiltyard_serving.batching.openmp import OpenMP
from tiltyard_serving.isolation.model import IsolatedModel
from tiltyard_serving.isolation.process import ProcessState
from tiltyard_serving.models.meter import ModelMeter
from tiltyard_serving.operations.memory import decoding, give_back_soon, left_by
from tiltyard_serving.warm_up.layout import Layout

Encode = Callable[[Any], bytes]

# A row of a table has one number at the least.
_ROW_BYTES = 8

# Source: mlflow/pyfunc/scoring_server/__init__.py, the answer when a model raises.
MODEL_RAISED = "Encountered an unexpected error while evaluating the model."
MODEL_FAILED = f"{MODEL_RAISED} Verify that the serialized input Dataframe is compatible with the model for inference."

# By which code says that what it was given is not right.
_REFUSALS = (ValueError, InvalidParameterValue, BadRequest)

# What the process of a model, and not the model, may say to a prediction.
_FAULTS = (DeadlineExceeded, InternalError, TemporarilyUnavailable)


class LoadedModel:
    """Answers requests with one version: decodes by its signature, predicts in its own thread.

    Attributes:
        bounds: what a body may stand for, and an answer take.
        warning: what is wrong with it, although it is served; None if nothing is.
    """

    def __init__(
        self,
        model: PyFunc,
        decoder: Decoder,
        *,
        name: str,
        version: str,
        layout: Layout | None,
        limits: Limits,
        bounds: Bounds = DEFAULT_BOUNDS,
        meter: ModelMeter,
        size_bytes: int = 0,
        openmp: OpenMP | None = None,
        warning: str | None = None,
        on_closed: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.version = version
        self.meter = meter
        self.size_bytes = size_bytes
        self.warning = warning
        self._on_closed = on_closed
        # Whether its metrics go with it.
        self.forgotten = False
        self.header = quote(f"{name}/{version}", safe="/ !#$&'()*+,:;=?@[]~").encode("ascii")
        self._users = 1
        self._model = model
        self.bounds = bounds
        self._decode = decoder
        self._batcher: Batcher[Payload, bytes] = Batcher(
            f"{name}/{version}",
            steps(model, layout, openmp, bounds),
            limits,
            merging=layout is not None,
            observe=meter.predicted,
        )

    @property
    def merging(self) -> bool:
        """Whether requests may share one prediction."""
        return self._batcher.merging

    @property
    def trees(self) -> str | None:
        """How trees are answered: up to how many rows compiled, or why not; None for what has no trees."""
        shortcut = self._model.shortcut
        return None if shortcut is None else shortcut.trees

    @property
    def process(self) -> ProcessState | None:
        """How the model's process is, if it has one of its own."""
        return self._model.process if isinstance(self._model, IsolatedModel) else None

    @property
    def signature(self) -> Signature | None:
        """What the model takes and gives, if it says so."""
        return self._model.signature

    @property
    def queued_requests(self) -> int:
        """How many requests are accepted and not yet answered."""
        return self._batcher.queue.requests

    def decode_at_once(self, body: Body, content_type: str | None) -> Payload | None:
        """The payload of a request body whose cost is known to be small, for the event loop; None for any other."""
        return self._decode.at_once(body, content_type)

    def decode(self, body: Body, content_type: str | None) -> Payload:
        """The payload of a request body, checked against the signature; for a thread."""
        with decoding(len(body)):
            payload = self._decode(body, content_type)
        payload.memory_bytes = memory_bytes(payload.data, body)
        # A columnar body of few bytes may stand for many rows.
        left_by(payload.rows * _ROW_BYTES)
        return payload

    def submit(self, waiter: Waiter[bytes], item: Payload, encode: Encode | None, times: Times | None) -> None:
        """Gives `waiter` the answer's body, in JSON or by `encode`; `times` is filled in.

        Raises:
            RequestLimitExceeded: too much is waiting.
        """
        write = None if encode is None else _within(encode, self.bounds)
        # Alone, a model may refuse an empty input; merged it would go unnoticed.
        key = item.merge_key if item.rows else None
        self._batcher.submit(waiter, item, rows=item.rows, merge_key=key, encode=write, times=times)

    async def answer(self, item: Payload) -> bytes:
        """The answer's body, in JSON. Raises: as `submit`."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.submit(answer, item, None, None)
        return await answer

    def hold(self) -> None:
        """One more user, who will `close` it too."""
        self._users += 1

    @property
    def users(self) -> int:
        """How many use it."""
        return self._users

    @property
    def closed(self) -> bool:
        """Whether nobody uses it any more."""
        return not self._users

    def close(self) -> None:
        """Ends one user's use; after the last one's the thread ends, and nobody may use the model."""
        self._users -= 1
        if not self._users:
            self._batcher.close()
            self._on_closed()
            self.meter.close(forget=self.forgotten)
            give_back_soon()


def _within(encode: Encode, bounds: Bounds) -> Encode:
    """`encode`, that writes no answer over the bounds."""
    answer_bytes = bounds.answer_bytes

    def encode_within(predictions: Any) -> bytes:
        bounds.check_predictions(predictions)
        answer = encode(predictions)
        if len(answer) > answer_bytes:
            bounds.check_answer(len(answer))
        left_by(len(answer))
        return answer

    return encode_within


def steps(
    model: PyFunc, layout: Layout | None = None, openmp: OpenMP | None = None, bounds: Bounds = DEFAULT_BOUNDS
) -> Steps[Payload, bytes]:
    """How payloads become answers of `model`, with every failure as the error that a caller may see.

    The cause stays on the error for the log. Without a `layout`, which tells the parts of an output, nothing can be
    merged; with `openmp`, several predictions may be made at once.
    """
    # A type hint's or a loader's refusal of the input is in words of ours.
    passed = (InvalidModelInput, *(_FAULTS if isinstance(model, IsolatedModel) else ()))

    def merge(items: Sequence[Payload]) -> tuple[Any, dict[str, Any] | None]:
        # Payloads with params are never merged.
        return model.to_input(items), items[0].params

    def predict(arguments: tuple[Any, dict[str, Any] | None]) -> Any:
        data, params = arguments
        return model.predict_enforced(data, params)

    plain: Steps[Payload, bytes] = Steps(
        merge=_or_else(merge, "The input could not be given to the model."),
        predict=_evaluating(
            predict, passed, checked=model.signature is not None and model.signature.inputs is not None
        ),
        split=(lambda _output, _counts: None) if layout is None else layout.split,
        encode=_or_else(
            _within(partial(output.encode, bounds=bounds), bounds), "The model's output cannot be written as JSON."
        ),
        brief=model.shortcut is not None and model.shortcut.brief,
    )
    return plain if openmp is None else replace(plain, at_once=openmp.at_once, share=openmp.share)


def _evaluating(
    predict: Callable[[Any], Any], passed: tuple[type[TiltyardError], ...], *, checked: bool
) -> Callable[[Any], Any]:
    """Predicts; what the model raises is its own fault where its input is `checked`, and else may be the caller's.

    A `ValueError` is how code says that what it was given is of the right type and yet not right: a category that it
    does not know, a missing value that it cannot take. A signature does not tell of such.
    """

    def run(argument: Any) -> Any:
        try:
            return predict(argument)
        except BaseException as error:
            if isinstance(error, passed):
                raise
            # Of what an isolated model raises, the name of its kind is known.
            is_refusal = isinstance(error, _REFUSALS) or type(error).__name__ == ValueError.__name__
            if checked and not is_refusal:
                raise InternalError(MODEL_RAISED) from error
            raise BadRequest(MODEL_FAILED) from error

    return run


def _or_else(step: Callable[[Any], Any], message: str) -> Callable[[Any], Any]:
    def run(argument: Any) -> Any:
        try:
            return step(argument)
        except TiltyardError:
            raise
        except BaseException as error:
            raise InternalError(message) from error

    return run
