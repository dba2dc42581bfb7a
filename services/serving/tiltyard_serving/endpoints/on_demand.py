"""Models that callers name and nobody configured: loaded when they are asked for, within a budget.

The one not asked for the longest goes first, and its memory is given back. A lease keeps a model alive while it
answers, so nobody's request ends with it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist, TemporarilyUnavailable, TiltyardError
from tiltyard.uri import RegisteredUri, VersionUri
from tiltyard_serving.endpoints.entities import Entity, registered_uri
from tiltyard_serving.endpoints.supplier import ModelSupplier
from tiltyard_serving.models.served_model import ServedModel
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import ServingSettings

# Two at a time: callers decide how many are asked for.
_LOADS_AT_ONCE = 2
# A model that could not be loaded is not tried again for so long, however many ask for it.
_RETRY_AFTER_S = 5.0
# So many loaded at once when no budget says otherwise.
_MODELS = 8


class _Failure(NamedTuple):
    why: str
    until_s: float


class OnDemand:
    """The loaded models by what asked for them, the one asked for last at the end."""

    def __init__(self, settings: ServingSettings, supply: ModelSupplier, telemetry: Telemetry) -> None:
        self._supply = supply
        self._budget_bytes = settings.model_budget_bytes
        self._models = settings.on_demand_models or (0 if self._budget_bytes else _MODELS)
        self._served: OrderedDict[RegisteredUri, ServedModel] = OrderedDict()
        self._opening: dict[RegisteredUri, asyncio.Task[ServedModel]] = {}
        self._failed: dict[RegisteredUri, _Failure] = {}
        self._loading = asyncio.Semaphore(_LOADS_AT_ONCE)
        self._evicted = telemetry.evictions
        self._loaded_bytes = telemetry.on_demand_bytes

    def __iter__(self) -> Iterator[ServedModel]:
        yield from self._served.values()

    def loaded(self, asked: RegisteredUri) -> ServedModel | None:
        """The model, if it is there; it is now the one asked for last."""
        served = self._served.get(asked)
        if served is not None:
            self._served.move_to_end(asked)
        return served

    async def open(self, asked: RegisteredUri) -> ServedModel:
        """The model, loaded once for all who ask for it meanwhile. Nobody's leaving ends the load of the others.

        Raises:
            ResourceDoesNotExist: it names nothing.
            TemporarilyUnavailable: it cannot be loaded now; says why.
        """
        while True:
            opening = self._opening.get(asked)
            if opening is None:
                opening = self._opening[asked] = asyncio.create_task(self._load(asked))
                opening.add_done_callback(lambda task: self._opened(asked, task))
            served = await asyncio.shield(opening)
            # Others may have needed its place before this caller had his turn.
            if served.ready:
                return served

    def _opened(self, asked: RegisteredUri, task: "asyncio.Task[ServedModel]") -> None:
        del self._opening[asked]
        if not task.cancelled():
            # Those who waited may all be gone; the error is theirs, not the loop's.
            task.exception()

    async def _load(self, asked: RegisteredUri) -> ServedModel:
        failure = self._failed.get(asked)
        if failure is not None:
            if (wait_s := failure.until_s - time.monotonic()) > 0:
                raise TemporarilyUnavailable(failure.why, retry_after_s=wait_s)
            del self._failed[asked]
        uri = registered_uri(asked)
        if self._supply.registry_is_away:
            raise TemporarilyUnavailable("The registry does not answer.", retry_after_s=1)
        try:
            target = await self._supply.resolve(uri)
        except TemporarilyUnavailable:
            raise
        except (ResourceDoesNotExist, InvalidParameterValue):
            raise ResourceDoesNotExist(f"The model {uri} does not exist.") from None
        except TiltyardError as error:
            raise TemporarilyUnavailable(f"The model {uri} cannot be found now.", retry_after_s=1) from error
        try:
            async with self._loading:
                served = await self._supply.settled(Entity(uri, asked, None), target, forget=True)
        except TemporarilyUnavailable as error:
            self._note_failure(asked, error.message)
            raise TemporarilyUnavailable(error.message, retry_after_s=_RETRY_AFTER_S) from None
        self._served[asked] = served
        if not isinstance(asked, VersionUri):
            self._supply.follow(asked, served)
        self._make_room()
        return served

    def _note_failure(self, asked: RegisteredUri, why: str) -> None:
        now_s = time.monotonic()
        # Callers decide what is asked for: what may be tried again is not kept.
        self._failed = {known: failure for known, failure in self._failed.items() if failure.until_s > now_s}
        self._failed[asked] = _Failure(why, now_s + _RETRY_AFTER_S)

    def _make_room(self) -> None:
        """Ends the longest unused ones until the rest is within the bounds. The newest stays in any case."""
        loaded = {asked: served.slot.current for asked, served in self._served.items()}
        sizes = {asked: 0 if model is None else model.size_bytes for asked, model in loaded.items()}
        total_bytes = sum(sizes.values())
        while len(self._served) > 1 and (
            (self._models and len(self._served) > self._models)
            or (self._budget_bytes and total_bytes > self._budget_bytes)
        ):
            asked, longest_unused = self._served.popitem(last=False)
            total_bytes -= sizes[asked]
            self._supply.end(longest_unused, forget=True)
            self._evicted.inc()
        self._loaded_bytes.set(total_bytes)
