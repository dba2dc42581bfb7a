"""From a model URI to a loaded, warmed version; all of it off the event loop, so traffic never waits for it."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeVar
from weakref import WeakValueDictionary

from tiltyard import models, pyfunc
from tiltyard.cache.model_cache import ModelCache
from tiltyard.pyfunc import PyFunc
from tiltyard.pyfunc.payload.decoder import Decoder
from tiltyard_serving.batching.batch import Limits
from tiltyard_serving.batching.openmp import OpenMP
from tiltyard_serving.isolation.model import IsolatedModel, isolated
from tiltyard_serving.isolation.process import Limits as ProcessLimits
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.models.meter import ModelMeter, process_meter
from tiltyard_serving.models.target import ModelTarget, short, target_of
from tiltyard_serving.operations.memory import size_of
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import Isolation, ServingSettings
from tiltyard_serving.trial_load.trials import Trials
from tiltyard_serving.warm_up.warm_up import WarmUp, warm_up

T = TypeVar("T")

# Each load may need as much memory again as its model.
LOADS_AT_ONCE = 4

_log = logging.getLogger(__name__)

_Way = tuple[ModelTarget, Isolation]


class _Fetched(NamedTuple):
    model: PyFunc
    decoder: Decoder
    name: str
    version: str
    warmed: WarmUp
    size_bytes: int
    openmp: OpenMP | None
    close: Callable[[], object]


class Loader:
    """Resolves and loads by the settings of this process."""

    def __init__(self, settings: ServingSettings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._trials = Trials(settings.coerce, memory_bytes=settings.trial_load_bytes)
        self._loading = asyncio.Semaphore(LOADS_AT_ONCE)
        self._loaded: WeakValueDictionary[_Way, LoadedModel] = WeakValueDictionary()
        self._in_turn: WeakValueDictionary[_Way, asyncio.Lock] = WeakValueDictionary()
        self._limits = Limits(
            requests=settings.queue_requests,
            rows=settings.queue_rows,
            batch_rows=settings.batch_rows,
            wait_s=settings.request_timeout_s,
            inline=settings.inline_predictions,
        )
        self._bounds = settings.bounds
        self._process_limits = ProcessLimits(
            memory_bytes=settings.isolation_memory_bytes or None,
            predict_s=settings.request_timeout_s if settings.end_overdue else None,
        )

    def close(self) -> None:
        """Ends the process in which models are tried; what is loading fails."""
        self._trials.close()

    async def resolve(self, uri: str) -> ModelTarget:
        """The exact version that `uri` names now.

        Raises:
            ResourceDoesNotExist: there is none.
            TransportError: the registry gives no answer.
        """
        found = await in_thread(lambda: models.resolve(uri, registry_url=self._settings.registry_url))
        return target_of(found)

    async def load(self, target: ModelTarget, label: str, isolation: Isolation) -> LoadedModel:
        """The version, fetched, verified, loaded and warmed. `label` is its name when it has no own one.

        What was registered is loaded once, however many ask for it; each of them closes it.

        Raises:
            Exception: whatever keeps it from being served; the registry's, the file system's, the model's.
        """
        if target.name is None:
            return await self._load(target, label, isolation)
        way = target, isolation
        in_turn = self._in_turn.get(way)
        if in_turn is None:
            in_turn = self._in_turn[way] = asyncio.Lock()
        async with in_turn:
            loaded = self._loaded.get(way)
            if loaded is None or loaded.closed:
                loaded = self._loaded[way] = await self._load(target, label, isolation)
            else:
                loaded.hold()
            return loaded

    async def _load(self, target: ModelTarget, label: str, isolation: Isolation) -> LoadedModel:
        await self._loading.acquire()
        loading = in_thread(lambda: self._fetch(target, label, isolation))
        # Its place is free when its thread is done, whoever still waits for it.
        loading.add_done_callback(lambda _: self._loading.release())
        try:
            fetched = await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(_drop)
            raise
        return LoadedModel(
            fetched.model,
            fetched.decoder,
            name=fetched.name,
            version=fetched.version,
            layout=fetched.warmed.layout,
            warning=fetched.warmed.warning,
            limits=self._limits,
            bounds=self._bounds,
            meter=ModelMeter(self._telemetry, fetched.name, fetched.version),
            size_bytes=fetched.size_bytes,
            openmp=fetched.openmp,
            on_closed=fetched.close,
        )

    def _fetch(self, target: ModelTarget, label: str, isolation: Isolation) -> _Fetched:
        settings = self._settings
        reference = models.resolve(target.uri, registry_url=settings.registry_url)
        name = reference.name or label
        version = str(reference.version or short(reference.digest) or reference.model_id or "unregistered")

        def verified() -> models.CachedModel:
            return models.fetch(
                reference,
                cache_dir=settings.cache_dir,
                accept_unverified=settings.accept_unverified,
                cache_max_bytes=settings.cache_max_bytes,
            )

        def verified_again() -> Path:
            # What nobody can verify would be fetched again for nothing.
            if reference.manifest is not None:
                verified().release()
            return directory

        with ExitStack() as held:
            directory = held.enter_context(verified()).path
            if isolation == "none":
                # A directory that nobody vouches for is in the cache by the digest that its files have.
                self._trials.check(directory, reference.digest or directory.name, settings.cache_dir)
                model: PyFunc = pyfunc.load(directory)
                if model.caution is not None:
                    _log.warning("%s/%s: %s", name, version, model.caution)
            else:
                cache, meter = ModelCache(settings.cache_dir).root, process_meter(self._telemetry, name, version)
                model = isolated(f"{name}/{version}", verified_again, cache, self._process_limits, meter)
                held.callback(model.close)
            warmed = warm_up(model, directory, settings.coerce, compiled=settings.compiled)
            # Of a signature of very many columns it takes a second to make.
            decoder = Decoder(model.signature, coerce=settings.coerce, bounds=self._bounds)
            resident_bytes = model.resident_bytes if isinstance(model, IsolatedModel) else None
            reentrant = model.shortcut is not None and model.shortcut.reentrant
            openmp = OpenMP(settings.workers) if reentrant else None
            size_bytes = resident_bytes or size_of(directory)
            return _Fetched(model, decoder, name, version, warmed, size_bytes, openmp, held.pop_all().close)


def _drop(loading: "asyncio.Future[_Fetched]") -> None:
    """Gives back what was loaded for nobody."""
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()


def in_thread(work: Callable[[], T]) -> "asyncio.Future[T]":
    """What `work` gives in a thread of its own, which does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # a result, as there is no error
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            future.set_exception(error)
        else:
            # Code of a model may raise what would end the event loop, or what a future refuses.
            future.set_exception(RuntimeError(f"{type(error).__name__} was raised"))

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            _log.debug("the event loop has ended before a load")

    threading.Thread(target=run, name="load", daemon=True).start()
    return future
