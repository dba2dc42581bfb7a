"""The served models by the names that callers use.

A caller may ask for any version, alias or stage of a configured registered model, or of one that the operator lets
callers name: that one is loaded on demand.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from tiltyard.errors import ResourceDoesNotExist, TemporarilyUnavailable
from tiltyard.uri import ModelUri, RegisteredUri, VersionUri
from tiltyard_serving.endpoints.endpoint import Endpoint
from tiltyard_serving.endpoints.entities import DEFAULT, asked_for, full_name, full_pattern, named_by_alias
from tiltyard_serving.endpoints.on_demand import OnDemand
from tiltyard_serving.models.served_model import ServedModel


class EndpointTable:
    """What is served, found by name; `EndpointChanges` alone puts something in or takes it out."""

    def __init__(self, on_demand: OnDemand, patterns: Sequence[str], first: str | None = None) -> None:
        """`patterns` are those of the registered models that callers may name though nobody configured them.

        `first` is the name of the endpoint that was configured first, if it has one.
        """
        self._first = first
        self._on_demand = on_demand
        self._askable = tuple(map(full_pattern, patterns))
        self._unnamed: list[Endpoint] = []
        self._by_name: dict[str, Endpoint] = {}
        self._members: dict[ModelUri, ServedModel] = {}
        self._names: set[str] = set()

    def add(self, endpoint: Endpoint) -> None:
        """Takes in an endpoint that has no name."""
        self._unnamed.append(endpoint)
        self._index()

    def put(self, name: str, endpoint: Endpoint) -> None:
        """Takes in the endpoint of a name, in the place of the one that had it."""
        self._by_name[name] = endpoint
        self._index()

    def remove(self, name: str) -> None:
        """Takes out the endpoint of a name."""
        del self._by_name[name]
        self._index()

    def __iter__(self) -> Iterator[ServedModel]:
        for endpoint in (*self._unnamed, *self._by_name.values()):
            yield from endpoint
            if endpoint.shadow is not None:
                yield endpoint.shadow.served
        yield from self._on_demand

    @property
    def by_name(self) -> Mapping[str, Endpoint]:
        """The named endpoints."""
        return self._by_name

    @property
    def unnamed(self) -> Sequence[Endpoint]:
        """The configured models that are no named endpoint."""
        return self._unnamed

    @property
    def missing(self) -> list[ServedModel]:
        """The configured models without a version to answer with, whose share no other takes. Shadows may lack one."""
        endpoints = (*self._unnamed, *self._by_name.values())
        return [served for endpoint in endpoints for served in endpoint.missing]

    def check_ready(self, *, stopping: bool) -> None:
        """Nothing, if every configured model is loaded and the process goes on. Raises: TemporarilyUnavailable."""
        if stopping:
            raise TemporarilyUnavailable("This process is stopping.", retry_after_s=1)
        if missing := self.missing:
            names = ", ".join(served.label for served in missing[:10])
            raise TemporarilyUnavailable(f"Not every configured model is loaded yet: {names}.", retry_after_s=1)

    def default(self) -> Endpoint:
        """The endpoint of plain `/invocations`: the one named `default`, else the first.

        Raises:
            ResourceDoesNotExist: none is configured.
        """
        if DEFAULT in self._by_name:
            return self._by_name[DEFAULT]
        if self._first in self._by_name:
            return self._by_name[self._first]
        for endpoint in (*self._unnamed, *self._by_name.values()):
            return endpoint
        raise ResourceDoesNotExist("No model is served here: start the service with --model URI.")

    def named(self, name: str) -> Endpoint:
        """The endpoint `name`. Raises: ResourceDoesNotExist: there is no such endpoint."""
        endpoint = self._by_name.get(name)
        if endpoint is None:
            raise ResourceDoesNotExist(f"There is no serving endpoint '{name[:300]}'.")
        return endpoint

    async def of_model(self, name: str, selector: str) -> ServedModel:
        """The model that serves a version, alias or stage of the registered model `name`.

        Raises:
            ResourceDoesNotExist: nothing of that model is configured here, or it has no such version.
            TemporarilyUnavailable: it is not loaded, and cannot be now.
        """
        return await self._asked(asked_for(name, selector), f"'{name[:300]}' with '{selector[:300]}'")

    async def of_alias(self, name: str, alias: str) -> ServedModel:
        """The model that serves `models:/NAME@ALIAS`. Raises: as `of_model`."""
        return await self._asked(named_by_alias(name, alias), f"'{name[:300]}@{alias[:300]}'")

    async def _asked(self, asked: RegisteredUri | None, shown: str) -> ServedModel:
        if asked is None or not self._may_be_asked(asked.name):
            raise ResourceDoesNotExist(f"The model {shown} is not served here.")
        return self._loaded(asked) or await self._on_demand.open(asked)

    def _loaded(self, asked: RegisteredUri) -> ServedModel | None:
        found = self._members.get(asked) or self._on_demand.loaded(asked)
        if found is None and isinstance(asked, VersionUri):
            for served in self:
                current = served.current
                if current and current.version == str(asked.version) and full_name(current.name) == asked.name:
                    return served
        return found

    def _may_be_asked(self, name: str) -> bool:
        """Whether callers may name any version of the registered model."""
        return name in self._names or any(fnmatchcase(name, pattern) for pattern in self._askable)

    def _index(self) -> None:
        """Looks up anew what requests look up."""
        endpoints = (*self._unnamed, *self._by_name.values())
        self._members = {member.names: member.served for endpoint in endpoints for member in endpoint.members}
        self._names = {names.name for names in self._members if isinstance(names, RegisteredUri)}
