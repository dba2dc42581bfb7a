"""How what is served changes: by settings at the start, by callers afterwards, here and in the other workers."""

import asyncio
import logging
from collections.abc import Mapping

from tiltyard.client.address import registry_url
from tiltyard.errors import InvalidParameterValue, ResourceLimitExceeded, TiltyardError
from tiltyard.uri import DirectoryUri, ModelUri
from tiltyard_serving.endpoints.agreement import LOOK_S, Agreement, Changes, Progress, SharedEndpoints
from tiltyard_serving.endpoints.config import EndpointConfig, check_name, read_file
from tiltyard_serving.endpoints.endpoint import Endpoint, Member
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.endpoints.entities import parse_entities
from tiltyard_serving.endpoints.on_demand import OnDemand
from tiltyard_serving.endpoints.shadow import Shadow
from tiltyard_serving.endpoints.supplier import ModelSupplier
from tiltyard_serving.models.served_model import ServedModel
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import ServingSettings

# Each is followed and takes memory, and anybody who may ask may make one.
MAX_ENDPOINTS = 1000
# How long a change of the endpoints waits for the other workers.
AGREEMENT_TIMEOUT_S = 60.0
# How long a worker that takes another's place may load before it takes connections.
REPLACED_WITHIN_S = 30.0
_CATCH_UP_AGAIN_S = 1.0

_log = logging.getLogger(__name__)


class EndpointChanges:
    """Keeps the table of endpoints as settings and callers want it.

    Attributes:
        table: the endpoints.
    """

    def __init__(self, settings: ServingSettings, telemetry: Telemetry) -> None:
        """Reads the settings; nothing is loaded before `start`.

        Raises:
            InvalidParameterValue: the models or the registry's address are malformed.
        """
        self._settings = settings
        self._telemetry = telemetry
        self._supply = ModelSupplier(settings, telemetry)
        self._entities = parse_entities(settings.models)
        first = self._entities[0].endpoint if self._entities else None
        self.table = EndpointTable(OnDemand(settings, self._supply, telemetry), settings.on_demand, first)
        if any(not isinstance(entity.names, DirectoryUri) for entity in self._entities):
            registry_url(settings.registry_url)
        self._configs = {} if settings.config is None else read_file(settings.config)
        taken = {entity.endpoint for entity in self._entities}
        for name, config in self._configs.items():
            if name in taken:
                raise InvalidParameterValue(f"endpoints.{name}: '{name}' is the name of a model already.")
            if any(not isinstance(entity.names, DirectoryUri) for _, entity in config.placed(name)):
                registry_url(settings.registry_url)
        self._changing = asyncio.Lock()
        # The changes that are made here, and why others of them could not be.
        self._changes = Changes()
        self._problems: dict[str, str] = {}
        self._shared: SharedEndpoints | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts to load and to follow what is configured, as callers of other workers have changed it since."""
        if self._settings.shared_dir is not None:
            self._shared = SharedEndpoints(self._settings.shared_dir)
            self._changes = self._shared.read()
            self._tasks.append(asyncio.create_task(self._follow_changes(self._shared)))
        changed = self._changes.endpoints
        for entity in self._entities:
            if entity.endpoint in changed:
                continue
            served = self._supply.serve(entity)
            self._supply.follow(entity.names, served)
            endpoint = Endpoint(entity.label, [Member(entity.names, served, 100)], self._telemetry)
            if entity.endpoint is None:
                self.table.add(endpoint)
            else:
                self.table.put(entity.endpoint, endpoint)
        for name, config in (self._configs | changed).items():
            if config is None:
                continue
            made = {entity.names: self._supply.serve(entity) for _, entity in config.placed(name)}
            for names, served in made.items():
                self._supply.follow(names, served)
            self.table.put(name, self._endpoint(name, config, made))

    async def before_traffic(self) -> None:
        """Returns at once in a service that begins; a worker that takes another's place is loaded first, if it can."""
        if self._shared is None:
            return
        loaded = asyncio.create_task(self._until_loaded(self._shared))
        self._tasks.append(loaded)
        if self._shared.warm:
            await asyncio.wait([loaded], timeout=REPLACED_WITHIN_S)

    async def _until_loaded(self, shared: SharedEndpoints) -> None:
        while True:
            if not self.table.missing:
                shared.set_warm()
                return
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Ends loading and following; what is in flight is still answered."""
        for task in self._tasks:
            task.cancel()
        if self._shared is not None:
            self._shared.close()
        self._supply.close()
        for served in self.table:
            served.close()

    async def put(self, name: str, config: EndpointConfig) -> Agreement:
        """Makes the endpoint `name` serve `config`, once every model of it is loaded; until then nothing changes.

        Models that it serves already stay as they are. Says how many of the service's workers have it now.

        Raises:
            InvalidParameterValue: a model does not exist or cannot be loaded.
            ResourceLimitExceeded: there are too many endpoints.
            TemporarilyUnavailable: the registry does not answer.
        """
        check_name(name)
        registry_url(self._settings.registry_url)
        if name not in self.table.by_name and len(self.table.by_name) >= MAX_ENDPOINTS:
            raise ResourceLimitExceeded(f"There are {MAX_ENDPOINTS} endpoints already, more may not be made.")
        return await self._change(name, config)

    async def remove(self, name: str) -> Agreement:
        """Ends the endpoint `name`; what is in flight is still answered.

        Raises:
            ResourceDoesNotExist: there is none.
        """
        return await self._change(name, None)

    async def _change(self, name: str, config: EndpointConfig | None) -> Agreement:
        """Changes it here, which may fail, then makes it known to the other workers."""
        shared = self._shared
        async with self._changing:
            if shared is None:
                await self._apply(name, config)
                return Agreement()
            async with shared.turn():
                # What cannot be made here of other changes keeps nobody from this one, which may be its correction.
                before = shared.read()
                await self._catch_up(before, but=name)
                if config is not None or name in self.table.by_name or before.endpoints.get(name) is None:
                    await self._apply(name, config)
                number = shared.publish(name, config).number
            self._changes = Changes(number, self._changes.endpoints | {name: config})
            self._problems.pop(name, None)
            shared.report(Progress(number, self._problems))
        return await shared.agreement(name, number, AGREEMENT_TIMEOUT_S)

    async def _apply(self, name: str, config: EndpointConfig | None) -> None:
        if config is None:
            for served in _models_of(self.table.named(name)).values():
                self._supply.end(served)
            self.table.remove(name)
            return
        before = self.table.by_name.get(name)
        known = {} if before is None else _models_of(before)
        places = {} if before is None else {e.names: e.isolation for _, e in before.config.placed("$")}
        added: dict[ModelUri, ServedModel] = {}
        try:
            for place, entity in config.placed("$"):
                if entity.names not in known or places.get(entity.names) != entity.isolation:
                    added[entity.names] = await self._supply.loaded(place, entity)
        except BaseException:
            for served in added.values():
                served.close()
            raise
        after = self._endpoint(name, config, known | added)
        self.table.put(name, after)
        for names, served in added.items():
            self._supply.follow(names, served)
        kept = _models_of(after)
        for names, served in known.items():
            if kept.get(names) is not served:
                self._supply.end(served)

    async def _follow_changes(self, shared: SharedEndpoints) -> None:
        """Makes the changes of other workers its own, until it is cancelled."""
        seen = None
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if (stamp := shared.stamp()) == seen:
                    continue
                async with self._changing:
                    await self._catch_up(shared.read())
                    shared.report(Progress(self._changes.number, self._problems))
                if not self._problems:
                    seen = stamp
                    continue
            except Exception:
                # A disk that is full or slow now is not so for ever: whoever gives up here misses every later change.
                _log.exception("the changes of the endpoints could not be followed")
            await asyncio.sleep(_CATCH_UP_AGAIN_S)

    async def _catch_up(self, changes: Changes, but: str | None = None) -> None:
        """Makes each of the changes that others have made, except that of one endpoint; each by itself."""
        made = dict(self._changes.endpoints)
        for name, config in changes.endpoints.items():
            if name == but or (name in made and made[name] == config):
                continue
            try:
                if config is not None or name in self.table.by_name:
                    await self._apply(name, config)
            except Exception as error:
                why = error.message if isinstance(error, TiltyardError) else type(error).__name__
                if self._problems.get(name) != why:
                    _log.warning("the change of the endpoint %s could not be made here", name, exc_info=error)
                self._problems[name] = why
            else:
                self._problems.pop(name, None)
                made[name] = config
        self._changes = Changes(changes.number, made)

    def _endpoint(self, name: str, config: EndpointConfig, models: Mapping[ModelUri, ServedModel]) -> Endpoint:
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


def _models_of(endpoint: Endpoint) -> dict[ModelUri, ServedModel]:
    models = {member.names: member.served for member in endpoint.members}
    if endpoint.shadow is not None:
        models[endpoint.shadow.names] = endpoint.shadow.served
    return models
