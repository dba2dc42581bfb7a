"""Which models this process serves, and which of them a request asks for.

Configured models are named by settings. A caller may also ask for any version, alias or stage of a configured
registered model: that one is loaded on demand, and the one not asked for the longest goes when there are
too many.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator

from tiltyard.client.address import registry_url
from tiltyard.errors import (
    InvalidParameterValue,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
    TiltyardError,
    TransportError,
)
from tiltyard.uri import DirectoryUri, ModelUri, RegisteredUri, VersionUri
from tiltyard_serving.entities import DEFAULT, asked_for, full_name, parse_entities, registered_uri
from tiltyard_serving.loading import Loader, Target
from tiltyard_serving.served import Served
from tiltyard_serving.settings import Settings
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
        self._configured: list[Served] = []
        self._by_endpoint: dict[str, Served] = {}
        self._by_uri: dict[ModelUri, Served] = {}
        self._on_demand: OrderedDict[RegisteredUri, Served] = OrderedDict()
        self._opening: dict[RegisteredUri, asyncio.Task[Served]] = {}
        self._loading = asyncio.Semaphore(_LOADS_AT_ONCE)
        self._watcher: Watcher | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to load and to follow what is configured."""
        if any(isinstance(entity.names, RegisteredUri) for entity in self._entities):
            self._watcher = Watcher(self._settings, self._telemetry, self._loader.resolve)
            self._watching = asyncio.create_task(self._watcher.run())
        for entity in self._entities:
            served = self._serve(entity.uri, entity.label)
            self._configured.append(served)
            self._by_uri.setdefault(entity.names, served)
            if entity.endpoint is not None:
                self._by_endpoint[entity.endpoint] = served
            if isinstance(entity.names, RegisteredUri) and self._watcher:
                self._watcher.follow(served)
            else:
                served.want(Target(entity.uri))

    def close(self) -> None:
        """Ends loading and following; what is in flight is still answered."""
        if self._watching is not None:
            self._watching.cancel()
        for served in self:
            served.close()

    def __iter__(self) -> Iterator[Served]:
        yield from self._configured
        yield from self._on_demand.values()

    @property
    def missing(self) -> list[Served]:
        """The configured models that have no version to answer with yet."""
        return [served for served in self._configured if not served.ready]

    def default(self) -> Served:
        """The model of plain `/invocations`: the one named `default`, else the first.

        Raises:
            ResourceDoesNotExist: none is configured.
        """
        if DEFAULT in self._by_endpoint:
            return self._by_endpoint[DEFAULT]
        if not self._configured:
            raise ResourceDoesNotExist("No model is served here: start the service with --model URI.")
        return self._configured[0]

    def named(self, endpoint: str) -> Served:
        """The model of the endpoint `endpoint`.

        Raises:
            ResourceDoesNotExist: there is no such endpoint.
        """
        served = self._by_endpoint.get(endpoint)
        if served is None:
            raise ResourceDoesNotExist(f"There is no serving endpoint '{endpoint[:300]}'.")
        return served

    async def of_model(self, name: str, selector: str) -> Served:
        """The model that serves a version, alias or stage of the registered model `name`.

        Raises:
            ResourceDoesNotExist: nothing of that model is configured here, or it has no such version.
            TemporarilyUnavailable: it is not loaded, and cannot be now.
        """
        asked = asked_for(name, selector)
        if asked is None or not any(entity.model == asked.name for entity in self._entities):
            raise ResourceDoesNotExist(f"The model '{name[:300]}' with '{selector[:300]}' is not served here.")
        return self._loaded(asked) or await self._open(asked)

    def _loaded(self, asked: RegisteredUri) -> Served | None:
        if asked in self._by_uri:
            return self._by_uri[asked]
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
        served = self._serve(uri, uri)
        try:
            async with self._loading:
                served.want(target)
                await served.settled()
        except BaseException:
            served.close()
            raise
        self._on_demand[asked] = served
        if not isinstance(asked, VersionUri):
            self._watcher.follow(served)
        while len(self._on_demand) > self._settings.on_demand_models:
            _, longest_unused = self._on_demand.popitem(last=False)
            self._watcher.forget(longest_unused)
            longest_unused.close()
        return served

    def _serve(self, uri: str, label: str) -> Served:
        return Served(uri, label, lambda target: self._loader.load(target, label), self._telemetry)
