"""One thing that is served: which version it should be, which one it is, and the way from one to the other."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tiltyard.errors import (
    InternalError,
    MissingPackage,
    ModelIntegrityError,
    ModelUnreadable,
    TemporarilyUnavailable,
    TiltyardError,
    TransportError,
)
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.models.slot import Slot
from tiltyard_serving.models.target import ModelTarget
from tiltyard_serving.models.trial import Trial
from tiltyard_serving.operations.memory import give_back_soon
from tiltyard_serving.operations.metrics import Telemetry

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0

_log = logging.getLogger(__name__)


class TrialLimits(NamedTuple):
    """How many requests a new version is judged by, how many may fail, and how long that takes at most."""

    requests: int
    max_error_rate: float
    time_s: float


class _Fallback(NamedTuple):
    model: LoadedModel
    target: ModelTarget
    timer: asyncio.TimerHandle


class ServedModel:
    """Keeps a slot filled with the version that is wanted.

    A version takes traffic once it is loaded; until then, and when it cannot be, the one before it goes on.
    A load that failed is tried again after a while, or when another version is wanted. Callers know it by its
    `label`; its URI may be a path.
    """

    def __init__(
        self,
        uri: str,
        label: str,
        load: Callable[[ModelTarget], Awaitable[LoadedModel]],
        telemetry: Telemetry,
        *,
        first_retry_s: float = FIRST_RETRY_S,
        trial: TrialLimits | None = None,
    ) -> None:
        self.uri = uri
        self.label = label
        self.slot: Slot[LoadedModel] = Slot(label, lambda model: model.close())
        self.problem: str | None = None
        self.current: ModelTarget | None = None
        self.trial: Trial | None = None
        self._trial_limits = trial
        self._fallback: _Fallback | None = None
        # What was taken back: not tried again before something else was wanted.
        self._refused: ModelTarget | None = None
        self._load = load
        self._telemetry = telemetry
        self._first_retry_s = first_retry_s
        self._wanted: ModelTarget | None = None
        self._wanted_since_s = 0.0
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        telemetry.model_ready.labels(label).set(0)
        telemetry.model_stale.labels(label).set(0)

    @property
    def ready(self) -> bool:
        """Whether there is a version to answer with."""
        return self.slot.current is not None

    @property
    def names_nothing(self) -> bool:
        """Whether it was said that there is nothing to serve, and never that there is."""
        return self._wanted is None and self.problem is not None

    def want(self, target: ModelTarget) -> None:
        """Makes `target` the version to serve as soon as it is loaded."""
        if target == self.current:
            self.report(None)
        if target == self._wanted:
            return
        self._refused = None
        self._wanted = target
        self._wanted_since_s = time.monotonic()
        self._wake.set()
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    def report(self, problem: str | None, error: Exception | None = None) -> None:
        """Says why the version that should be served is not, or that all is well again; said once, not at each try.

        Args:
            error: what was raised, if anything was. The log has it whole when it tells more than the problem does.
        """
        if problem and problem != self.problem:
            level = logging.WARNING if error is None or _is_told(error) else logging.ERROR
            _log.log(level, "%s: %s", self.uri, problem, exc_info=error if error and _is_wanted(error) else None)
        self.problem = problem
        self._telemetry.model_stale.labels(self.label).set(1 if problem else 0)

    async def settled(self) -> None:
        """Returns once a version is loaded. Raises: TemporarilyUnavailable: the first try to load one failed."""
        await self._settled.wait()
        if not self.ready:
            raise TemporarilyUnavailable(f"The model {self.label} could not be loaded.", retry_after_s=5)

    def close(self, *, forget: bool = False) -> None:
        """Stops serving; what is in flight is still answered. With `forget` its metrics go too."""
        if self._keeping is not None:
            self._keeping.cancel()
        for model in (self.slot.current, self._fallback and self._fallback.model):
            if model is not None and forget:
                # Others that serve the same version go on counting.
                model.forgotten = model.users == 1
        self._end_trial()
        self.slot.swap(None)
        self._telemetry.model_ready.labels(self.label).set(0)
        self._telemetry.model_stale.labels(self.label).set(0)
        if forget:
            self._telemetry.forget_served(self.label)

    async def _keep(self) -> None:
        retry_s = self._first_retry_s
        while True:
            wanted = self._wanted
            if wanted is None or wanted in (self.current, self._refused):
                self._wake.clear()
                await self._wake.wait()
                retry_s = self._first_retry_s
                continue
            self._wake.clear()
            if await self._try(wanted):
                retry_s = self._first_retry_s
                continue
            try:
                async with asyncio.timeout(retry_s):
                    await self._wake.wait()
            except TimeoutError:
                retry_s = min(LAST_RETRY_S, 2 * retry_s)
            else:
                retry_s = self._first_retry_s

    async def _try(self, target: ModelTarget) -> bool:
        """Whether `target` was loaded, and is current unless what is current is wanted again."""
        loads = self._telemetry.loads
        try:
            model = await self._load(target)
        except Exception as error:
            loads.labels(self.label, "failed").inc()
            _log.debug("%s: %s could not be loaded", self.uri, target.uri, exc_info=error)
            self.report(f"{_shown(target) or self.label} could not be loaded: {_reason(error)}", error)
            self._settled.set()
            return False
        served = self.slot.current
        if served is not None and model.warning is not None and served.warning is None:
            model.close()
            loads.labels(self.label, "failed").inc()
            self.report(f"{_shown(target) or self.label} does not replace the version before it: {model.warning}")
            return False
        loads.labels(self.label, "loaded").inc()
        if self.current is not None and self._wanted == self.current:
            model.close()
            self.report(None)
            return True
        seconds = time.monotonic() - self._wanted_since_s
        self._begin_trial(model)
        self.slot.swap(model)
        self.current = target
        self.report(None)
        self._telemetry.load_seconds.labels(self.label).observe(seconds)
        self._telemetry.model_ready.labels(self.label).set(1)
        self._telemetry.model_warned.labels(self.label).set(1 if model.warning else 0)
        self._settled.set()
        # Loading took more than the model keeps.
        give_back_soon()
        if model.warning:
            _log.warning("%s: %s/%s is served nevertheless: %s", self.uri, model.name, model.version, model.warning)
        _log.info(
            "%s: serving %s/%s after %.2f s%s",
            self.uri,
            model.name,
            model.version,
            seconds,
            "" if model.merging else ", requests are not merged",
        )
        return True

    # --- The trial of a version that replaces another -------------------------------------------------

    def _begin_trial(self, model: LoadedModel) -> None:
        """From now on counts what `model` answers; the version before it stays loaded meanwhile."""
        self._end_trial()
        limits, before, target = self._trial_limits, self.slot.current, self.current
        if limits is None or before is None or target is None:
            return
        before.hold()
        timer = asyncio.get_running_loop().call_later(limits.time_s, self._end_trial)
        self._fallback = _Fallback(before, target, timer)
        self.trial = Trial(model, before, limits.requests, limits.max_error_rate, self._decide)

    def _end_trial(self) -> None:
        if self.trial is not None:
            self.trial.close()
        self.trial = None
        if self._fallback is not None:
            fallback, self._fallback = self._fallback, None
            fallback.timer.cancel()
            fallback.model.close()

    def _decide(self, failure: str | None) -> None:
        if failure is None or self._fallback is None:
            self._end_trial()
            return
        bad, fallback = self.current, self._fallback
        fallback.model.hold()
        self.slot.swap(fallback.model)
        self.current, self._refused = fallback.target, bad
        self._end_trial()
        self._telemetry.taken_back.labels(self.label).inc()
        self.report(f"{(bad and _shown(bad)) or self.label} was taken back: {failure}")


def _shown(target: ModelTarget) -> str | None:
    return None if target.name is None else f"{target.name}/{target.version}"


def _reason(error: Exception) -> str:
    """Why, for those who may ask this server about its models: no path and no text of a library."""
    if isinstance(error, MissingPackage):
        return str(error)
    return error.message if isinstance(error, TiltyardError) else type(error).__name__


_REFUSALS = TiltyardError | TransportError | ModelIntegrityError


def _is_told(error: Exception) -> bool:
    """Whether the fault is the model's, the caller's or the network's, and not ours."""
    return isinstance(error, _REFUSALS | ImportError) and not isinstance(error, InternalError)


def _is_wanted(error: Exception) -> bool:
    """Whether the log is to have its traceback: of a fault of ours, and of what the model's own code raised."""
    if isinstance(error, ModelUnreadable | MissingPackage):
        return False
    return error.__cause__ is not None or not isinstance(error, _REFUSALS)
