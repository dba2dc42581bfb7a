"""Makes what is served, and keeps it at the version that its URI names."""

import asyncio

from tiltyard.errors import InvalidParameterValue, TemporarilyUnavailable, TiltyardError, TransportError
from tiltyard.uri import ModelUri, RegisteredUri
from tiltyard_serving.endpoints.entities import Entity
from tiltyard_serving.models.loader import Loader
from tiltyard_serving.models.served_model import ServedModel, TrialLimits
from tiltyard_serving.models.target import ModelTarget
from tiltyard_serving.models.watcher import Watcher
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import ServingSettings


class ModelSupplier:
    """One loader and one watcher for everything that a process serves."""

    def __init__(self, settings: ServingSettings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._loader = Loader(settings, telemetry)
        self._watcher: Watcher | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def registry_is_away(self) -> bool:
        """Whether the registry is known not to answer."""
        return self._watcher is not None and self._watcher.away

    def serve(self, entity: Entity) -> ServedModel:
        """Something to serve the entity with, empty as yet."""
        settings, label = self._settings, entity.label
        isolation = entity.isolation or settings.isolation
        limits = TrialLimits(settings.trial_requests, settings.trial_max_error_rate, settings.trial_s)
        return ServedModel(
            entity.uri,
            label,
            lambda target: self._loader.load(target, label, isolation),
            self._telemetry,
            trial=limits if limits.requests else None,
        )

    def follow(self, names: ModelUri, served: ServedModel) -> None:
        """Keeps `served` at what `names` names: followed in the registry, or loaded once."""
        if not isinstance(names, RegisteredUri):
            served.want(ModelTarget(served.uri))
            return
        if self._watcher is None:
            self._watcher = Watcher(self._settings, self._telemetry, self._loader.resolve)
            self._watching = asyncio.create_task(self._watcher.run())
        self._watcher.follow(served)

    def end(self, served: ServedModel, *, forget: bool = False) -> None:
        """Ends that, and what `served` serves; what is in flight is still answered. `forget` as in `Served.close`."""
        if self._watcher is not None:
            self._watcher.forget(served)
        served.close(forget=forget)

    async def resolve(self, uri: str) -> ModelTarget:
        """The version that `uri` names now.

        Raises:
            TemporarilyUnavailable: the registry does not answer.
            TiltyardError: it names nothing, or nothing that can be served.
        """
        try:
            return await self._loader.resolve(uri)
        except TransportError:
            raise TemporarilyUnavailable("The registry does not answer.", retry_after_s=1) from None

    async def loaded(self, place: str, entity: Entity) -> ServedModel:
        """The entity at `place` of a configuration, loaded and not followed yet.

        Raises:
            InvalidParameterValue: it does not exist or cannot be loaded; names the place.
            TemporarilyUnavailable: the registry does not answer.
        """
        try:
            target = await self.resolve(entity.uri)
        except TemporarilyUnavailable:
            raise
        except TiltyardError as error:
            raise InvalidParameterValue(f"{place}: {error.message}") from None
        try:
            return await self.settled(entity, target)
        except TemporarilyUnavailable as error:
            raise InvalidParameterValue(f"{place}: {error.message}") from None

    async def settled(self, entity: Entity, target: ModelTarget, *, forget: bool = False) -> ServedModel:
        """The entity with that version loaded, and not followed yet; `forget` as in `end`, if it cannot be.

        Raises:
            TemporarilyUnavailable: it cannot be loaded now; says why.
        """
        served = self.serve(entity)
        try:
            served.want(target)
            await served.settled()
        except TemporarilyUnavailable as error:
            served.close(forget=forget)
            raise TemporarilyUnavailable(served.problem or error.message) from None
        except BaseException:
            served.close(forget=forget)
            raise
        return served

    def close(self) -> None:
        """Ends following and loading."""
        self._loader.close()
        if self._watching is not None:
            self._watching.cancel()
