"""A model that gets a copy of an endpoint's traffic: its answers are compared and counted, and never returned."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from tiltyard.uri import ModelUri
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.models.served_model import ServedModel
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.warm_up.answer_comparison import same_answer

IN_FLIGHT = 64
_INLINE_BYTES = 64 * 1024

Ask = Callable[[LoadedModel], Awaitable[bytes]]

_log = logging.getLogger(__name__)


class ShadowCounts(msgspec.Struct):
    """What came of the copies. `dropped` were not asked, because too many were being answered."""

    agreed: int = 0
    disagreed: int = 0
    failed: int = 0
    dropped: int = 0
    seconds: float = 0.0

    @property
    def agreement_rate(self) -> float | None:
        """The share of compared answers that were the same; None before the first."""
        compared = self.agreed + self.disagreed
        return self.agreed / compared if compared else None

    @property
    def mean_seconds(self) -> float | None:
        """Seconds of one answer of the shadow; None before the first."""
        answered = self.agreed + self.disagreed
        return self.seconds / answered if answered else None


class Shadow:
    """Asks the shadow what the endpoint's model was asked, after that has answered."""

    def __init__(self, endpoint: str, names: ModelUri, served: ServedModel, telemetry: Telemetry) -> None:
        self.names = names
        self.served = served
        self.counts = ShadowCounts()
        self._outcomes = {
            outcome: telemetry.shadow_requests.labels(endpoint, outcome)
            for outcome in ("agreed", "disagreed", "failed", "dropped")
        }
        self._seconds = telemetry.shadow_seconds.labels(endpoint)
        self._asking: set[asyncio.Task[None]] = set()

    def compare(self, ask: Ask, answer: Callable[[], bytes]) -> None:
        """Compares in the background what `ask` gets from the shadow with `answer()`, both JSON."""
        if len(self._asking) >= IN_FLIGHT or not self.served.ready:
            self._count("dropped")
            return
        task = asyncio.create_task(self._ask(ask, answer))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, ask: Ask, answer: Callable[[], bytes]) -> None:
        try:
            expected = answer()
            with self.served.slot.lease() as model:
                began_s = time.perf_counter()
                own = await ask(model)
                seconds = time.perf_counter() - began_s
        except Exception as error:
            _log.debug("the shadow %s failed", self.served.uri, exc_info=error)
            self._count("failed")
            return
        self._seconds.observe(seconds)
        self.counts.seconds += seconds
        large = len(own) > _INLINE_BYTES
        agreed = await asyncio.to_thread(same_answer, own, expected) if large else same_answer(own, expected)
        self._count("agreed" if agreed else "disagreed")

    def _count(self, outcome: str) -> None:
        setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
        self._outcomes[outcome].inc()
