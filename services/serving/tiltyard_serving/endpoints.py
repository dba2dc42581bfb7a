"""Which models this process serves, and which of them a request asks for.

Configured models are named by settings. A caller may also ask for any version, alias or stage of a configured
registered model: that one is loaded on demand, and the one not asked for the longest goes when there are
too many.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from tiltyard.client.address import registry_url
from tiltyard.errors import (
    InvalidParameterValue,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
    TiltyardError,
    TransportError,
)
from tiltyard.uri import DirectoryUri, ModelUri, RegisteredUri, VersionUri
from tiltyard_serving.endpoint import Endpoint, Member
from tiltyard_serving.endpoint_config import EndpointConfig, check_name, read_file
from tiltyard_serving.entities import DEFAULT, Entity, asked_for, full_name, parse_entities, registered_uri
from tiltyard_serving.loading import Loader, Target
from tiltyard_serving.served import Served, TrialLimits
from tiltyard_serving.settings import Settings
from tiltyard_serving.shadow import Shadow
from tiltyard_serving.telemetry import Telemetry
from tiltyard_serving.watcher import Watcher

# Two at a time: callers decide how many are asked for.
_LOADS_AT_ONCE = 2


class Endpoints:
    """The served models by the names that callers use."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        """Reads the settings; nothing is loaded before `start`.

        Raises:
            InvalidParameterValue: the models or the registry's address are malformed.
        """
        self._settings = settings
        self._telemetry = telemetry
        self._loader = Loader(settings, telemetry)
        self._entities = parse_entities(settings.models)
        if any(not isinstance(entity.names, DirectoryUri) for entity in self._entities):
            registry_url(settings.registry_url)
        self._configs = {} if settings.config is None else read_file(settings.config)
        taken = {entity.endpoint for entity in self._entities}
        for name, config in self._configs.items():
            if name in taken:
                raise InvalidParameterValue(f"endpoints.{name}: '{name}' is the name of a model already.")
            if any(not isinstance(entity.names, DirectoryUri) for _, entity in config.placed(name)):
                registry_url(settings.registry_url)
        self._unnamed: list[Endpoint] = []
        self._by_name: dict[str, Endpoint] = {}
        self._changing = asyncio.Lock()
        self._on_demand: OrderedDict[RegisteredUri, Served] = OrderedDict()
        self._opening: dict[RegisteredUri, asyncio.Task[Served]] = {}
        self._loading = asyncio.Semaphore(_LOADS_AT_ONCE)
        self._watcher: Watcher | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to load and to follow what is configured."""
        for entity in self._entities:
            served = self._serve(entity)
            self._follow(entity.names, served)
            endpoint = Endpoint(entity.label, [Member(entity.names, served, 100)], self._telemetry)
            if entity.endpoint is None:
                self._unnamed.append(endpoint)
            else:
                self._by_name[entity.endpoint] = endpoint
        for name, config in self._configs.items():
            made = {entity.names: self._serve(entity) for _, entity in config.placed(name)}
            for names, served in made.items():
                self._follow(names, served)
            self._by_name[name] = self._endpoint(name, config, made)

    def close(self) -> None:
        """Ends loading and following; what is in flight is still answered."""
        if self._watching is not None:
            self._watching.cancel()
        for served in self:
            served.close()

    def __iter__(self) -> Iterator[Served]:
        for endpoint in (*self._unnamed, *self._by_name.values()):
            yield from endpoint
            if endpoint.shadow is not None:
                yield endpoint.shadow.served
        yield from self._on_demand.values()

    @property
    def by_name(self) -> Mapping[str, Endpoint]:
        """The named endpoints."""
        return self._by_name

    @property
    def missing(self) -> list[Served]:
        """The configured models that have no version to answer with yet. Shadows may lack one."""
        endpoints = (*self._unnamed, *self._by_name.values())
        return [served for endpoint in endpoints for served in endpoint if not served.ready]

    def default(self) -> Endpoint:
        """The endpoint of plain `/invocations`: the one named `default`, else the first.

        Raises:
            ResourceDoesNotExist: none is configured.
        """
        if DEFAULT in self._by_name:
            return self._by_name[DEFAULT]
        first = self._entities[0].endpoint if self._entities else None
        if first in self._by_name:
            return self._by_name[first]
        for endpoint in (*self._unnamed, *self._by_name.values()):
            return endpoint
        raise ResourceDoesNotExist("No model is served here: start the service with --model URI.")

    def named(self, name: str) -> Endpoint:
        """The endpoint `name`.

        Raises:
            ResourceDoesNotExist: there is no such endpoint.
        """
        endpoint = self._by_name.get(name)
        if endpoint is None:
            raise ResourceDoesNotExist(f"There is no serving endpoint '{name[:300]}'.")
        return endpoint

    async def put(self, name: str, config: EndpointConfig) -> Endpoint:
        """Makes the endpoint `name` serve `config`, once every model of it is loaded; until then nothing changes.

        Models that it serves already stay as they are.

        Raises:
            InvalidParameterValue: a model does not exist or cannot be loaded.
            TemporarilyUnavailable: the registry does not answer.
        """
        check_name(name)
        registry_url(self._settings.registry_url)
        async with self._changing:
            before = self._by_name.get(name)
            known = {} if before is None else _models_of(before)
            places = {} if before is None else {e.names: e.isolation for _, e in before.config.placed("$")}
            added: dict[ModelUri, Served] = {}
            try:
                for place, entity in config.placed("$"):
                    if entity.names not in known or places.get(entity.names) != entity.isolation:
                        added[entity.names] = await self._first_load(place, entity)
            except BaseException:
                for served in added.values():
                    served.close()
                raise
            after = self._by_name[name] = self._endpoint(name, config, known | added)
            for names, served in added.items():
                self._follow(names, served)
            kept = _models_of(after)
            for names, served in known.items():
                if kept.get(names) is not served:
                    self._end(served)
            return after

    async def remove(self, name: str) -> None:
        """Ends the endpoint `name`; what is in flight is still answered.

        Raises:
            ResourceDoesNotExist: there is none.
        """
        async with self._changing:
            for served in _models_of(self.named(name)).values():
                self._end(served)
            del self._by_name[name]

    async def of_model(self, name: str, selector: str) -> Served:
        """The model that serves a version, alias or stage of the registered model `name`.

        Raises:
            ResourceDoesNotExist: nothing of that model is configured here, or it has no such version.
            TemporarilyUnavailable: it is not loaded, and cannot be now.
        """
        asked = asked_for(name, selector)
        if asked is None or asked.name not in self._model_names():
            raise ResourceDoesNotExist(f"The model '{name[:300]}' with '{selector[:300]}' is not served here.")
        return self._loaded(asked) or await self._open(asked)

    def _loaded(self, asked: RegisteredUri) -> Served | None:
        for endpoint in (*self._unnamed, *self._by_name.values()):
            for member in endpoint.members:
                if member.names == asked:
                    return member.served
        if asked in self._on_demand:
            self._on_demand.move_to_end(asked)
            return self._on_demand[asked]
        if isinstance(asked, VersionUri):
            for served in self:
                current = served.current
                if current and current.version == str(asked.version) and full_name(current.name) == asked.name:
                    return served
        return None

    async def _open(self, asked: RegisteredUri) -> Served:
        """Loads it once, for all who ask for it meanwhile. Nobody's leaving ends the load of the others."""
        opening = self._opening.get(asked)
        if opening is None:
            opening = self._opening[asked] = asyncio.create_task(self._load_on_demand(asked))
            opening.add_done_callback(lambda task: self._opened(asked, task))
        return await asyncio.shield(opening)

    def _opened(self, asked: RegisteredUri, task: "asyncio.Task[Served]") -> None:
        del self._opening[asked]
        if not task.cancelled():
            # Those who waited may all be gone; the error is theirs, not the loop's.
            task.exception()

    async def _load_on_demand(self, asked: RegisteredUri) -> Served:
        uri = registered_uri(asked)
        if self._watcher is None or not self._watcher.connected:
            raise TemporarilyUnavailable("The registry does not answer.", retry_after_s=1)
        try:
            target = await self._loader.resolve(uri)
        except TransportError:
            raise TemporarilyUnavailable("The registry does not answer.", retry_after_s=1) from None
        except (ResourceDoesNotExist, InvalidParameterValue):
            raise ResourceDoesNotExist(f"The model {uri} does not exist.") from None
        except TiltyardError as error:
            raise TemporarilyUnavailable(f"The model {uri} cannot be found now.", retry_after_s=1) from error
        served = self._serve(Entity(uri, asked, None))
        try:
            async with self._loading:
                served.want(target)
                await served.settled()
        except BaseException:
            served.close()
            raise
        self._on_demand[asked] = served
        if not isinstance(asked, VersionUri):
            self._follow(asked, served)
        while len(self._on_demand) > self._settings.on_demand_models:
            _, longest_unused = self._on_demand.popitem(last=False)
            self._end(longest_unused)
        return served

    def _model_names(self) -> set[str | None]:
        """The full names of the registered models that are configured."""
        return {
            member.names.name
            for endpoint in (*self._unnamed, *self._by_name.values())
            for member in endpoint.members
            if isinstance(member.names, RegisteredUri)
        }

    async def _first_load(self, place: str, entity: Entity) -> Served:
        """The model at `place` of a new configuration, loaded."""
        try:
            target = await self._loader.resolve(entity.uri)
        except TransportError:
            raise TemporarilyUnavailable("The registry does not answer.", retry_after_s=1) from None
        except TiltyardError as error:
            raise InvalidParameterValue(f"{place}: {error.message}") from None
        served = self._serve(entity)
        try:
            served.want(target)
            await served.settled()
        except TemporarilyUnavailable as error:
            problem = served.problem or error.message
            served.close()
            raise InvalidParameterValue(f"{place}: {problem}") from None
        except BaseException:
            served.close()
            raise
        return served

    def _endpoint(self, name: str, config: EndpointConfig, models: Mapping[ModelUri, Served]) -> Endpoint:
        entities = [entity for _, entity in config.placed(name)]
        members = [
            Member(entity.names, models[entity.names], told.traffic_percentage)
            for entity, told in zip(entities, config.served_entities, strict=False)
        ]
        shadow = None
        if config.shadow is not None:
            names = entities[-1].names
            shadow = Shadow(name, names, models[names], self._telemetry)
        return Endpoint(name, members, self._telemetry, config=config, shadow=shadow)

    def _follow(self, names: ModelUri, served: Served) -> None:
        """Keeps `served` at what `names` names: followed in the registry, or loaded once."""
        if not isinstance(names, RegisteredUri):
            served.want(Target(served.uri))
            return
        if self._watcher is None:
            self._watcher = Watcher(self._settings, self._telemetry, self._loader.resolve)
            self._watching = asyncio.create_task(self._watcher.run())
        self._watcher.follow(served)

    def _end(self, served: Served) -> None:
        if self._watcher is not None:
            self._watcher.forget(served)
        served.close()

    def _serve(self, entity: Entity) -> Served:
        settings, label = self._settings, entity.label
        isolation = entity.isolation or settings.isolation
        limits = TrialLimits(settings.trial_requests, settings.trial_max_error_rate, settings.trial_s)
        return Served(
            entity.uri,
            label,
            lambda target: self._loader.load(target, label, isolation),
            self._telemetry,
            trial=limits if limits.requests else None,
        )


def _models_of(endpoint: Endpoint) -> dict[ModelUri, Served]:
    models = {member.names: member.served for member in endpoint.members}
    if endpoint.shadow is not None:
        models[endpoint.shadow.names] = endpoint.shadow.served
    return models
