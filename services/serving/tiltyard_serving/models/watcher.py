"""Follows which versions the served aliases, stages and numbers name, as state and not as events.

Blocking queries ask for what is followed, each for as much as registries and proxies take in one request: the
registry answers at once if its state differs from the one known here, else when it changes or the wait ends. So a
lost connection costs a reconnect and never a missed promotion. While the registry is away, what is served stays.

A plain MLflow server has no such query; it is asked again and again.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from urllib.parse import quote_plus

import httpx2

from tiltyard.client import http
from tiltyard.client.calls.registry import Resolution, resolve
from tiltyard.errors import (
    BadRequest,
    EndpointNotFound,
    InvalidParameterValue,
    PayloadTooLarge,
    ResourceDoesNotExist,
    TiltyardError,
    TransportError,
)
from tiltyard.uri import format_model_uri
from tiltyard.version_status import READY
from tiltyard.wire.v1.resolution import Resolved, Unresolved
from tiltyard_serving.models.target import ModelTarget
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import ServingSettings

ANSWER_TIMEOUT_S = 5.0
# What one query asks for at most: a registry refuses more URIs, and a proxy in between a longer request line.
QUERY_URIS = 200
QUERY_BYTES = 6000
_SOON_S = 0.05
# A query that is refused asks for too much, or for something that cannot be asked for.
_REFUSALS = (InvalidParameterValue, BadRequest, PayloadTooLarge)

_log = logging.getLogger(__name__)


class Follower(Protocol):
    """Who wants to know what its URI names."""

    uri: str

    def want(self, target: ModelTarget) -> None: ...

    def report(self, problem: str | None) -> None: ...


class _Group:
    """Followers that are asked for together."""

    def __init__(self, followers: Sequence[Follower], *, full: bool = False) -> None:
        """`full`: it takes no more of them."""
        self.followers = list(followers)
        self.changed = asyncio.Event()
        self.query: asyncio.Task[Resolution] | None = None
        self.task: asyncio.Task[None] | None = None
        self.full = full
        self._size_bytes = sum(map(_size_bytes, followers))

    def has_room(self, follower: Follower) -> bool:
        size_bytes = self._size_bytes + _size_bytes(follower)
        return not self.full and len(self.followers) < QUERY_URIS and size_bytes <= QUERY_BYTES

    def add(self, follower: Follower) -> None:
        self.followers.append(follower)
        self._size_bytes += _size_bytes(follower)

    def remove(self, follower: Follower) -> None:
        self.followers.remove(follower)
        self._size_bytes -= _size_bytes(follower)

    def ask_again(self) -> None:
        self.changed.set()
        if self.query is not None:
            self.query.cancel()


class Watcher:
    """Tells each follower the version that its URI names, first and whenever it changes."""

    def __init__(
        self, settings: ServingSettings, telemetry: Telemetry, resolve: Callable[[str], Awaitable[ModelTarget]]
    ) -> None:
        self._settings = settings
        self._connected = telemetry.registry_connected
        self._resolve = resolve
        self._groups: list[_Group] = []
        # Those whose last query was not answered.
        self._unanswered: set[_Group] = set()
        self._grown = asyncio.Event()
        self._connection = http.ConnectionOptions(settings.registry_url, None, ANSWER_TIMEOUT_S)
        self._connected_now: bool | None = None
        self._connected.set(0)

    @property
    def away(self) -> bool:
        """Whether the registry was asked last and did not answer."""
        return self._connected_now is False

    def follow(self, follower: Follower) -> None:
        """Starts to follow what `follower.uri` names."""
        group = next((group for group in self._groups if group.has_room(follower)), None)
        if group is None:
            self._begin(_Group([follower]))
        else:
            group.add(follower)
            group.ask_again()

    def forget(self, follower: Follower) -> None:
        """Ends that."""
        for group in self._groups:
            if follower in group.followers:
                group.remove(follower)
                if not group.followers:
                    self._groups.remove(group)
                    self._unanswered.discard(group)
                group.ask_again()
                return

    async def run(self) -> None:
        """Follows until it is cancelled."""
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        async with (
            httpx2.AsyncClient(limits=limits, **self._connection.options) as client,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                self._grown.clear()
                for group in self._groups:
                    if group.task is None:
                        group.task = tasks.create_task(self._keep(client, group))
                await self._grown.wait()

    def _begin(self, group: _Group) -> None:
        self._groups.append(group)
        self._grown.set()

    async def _keep(self, client: httpx2.AsyncClient, group: _Group) -> None:
        """Follows one group until it is empty."""
        while group.followers:
            try:
                await self._follow(client, group)
            except _REFUSALS as error:
                await self._refused(group, error)
            except (TransportError, TiltyardError) as error:
                await self._failed(group, error)
            except Exception as error:
                _log.exception("the registry's answer could not be used")
                await self._failed(group, error)

    async def _follow(self, client: httpx2.AsyncClient, group: _Group) -> None:
        """Asks with one set of followers until that set changes.

        Raises:
            TransportError: the registry gives no answer.
            TiltyardError: it gives a bad one.
        """
        group.changed.clear()
        followers = list(group.followers)
        etag: str | None = None
        while not group.changed.is_set():
            began_s = time.monotonic()
            try:
                resolution = await self._ask(client, group, [follower.uri for follower in followers], etag)
            except (EndpointNotFound, ResourceDoesNotExist):
                await self._poll(group, followers)
                return
            if resolution is None:
                return
            self._answered(group)
            etag = resolution.etag or None
            for follower, found in zip(followers, resolution.models or (), strict=False):
                _tell(follower, found)
            if resolution.models is None and time.monotonic() - began_s < _SOON_S:
                # A server that does not wait must not be asked without pause.
                await asyncio.sleep(self._settings.reconnect_s)

    async def _ask(
        self, client: httpx2.AsyncClient, group: _Group, uris: list[str], etag: str | None
    ) -> Resolution | None:
        """The answer to one blocking query; None when the followers changed before it came."""
        call = resolve(uris, wait_s=self._settings.watch_wait_s, etag=etag)

        async def once() -> Resolution:
            with http.faults() as outcome:
                outcome.append(http.answer_of(await client.request(**self._connection.request(call))))
            return call.result(http.answered(outcome[0], self._connection.url))

        query = group.query = asyncio.create_task(once())
        try:
            await asyncio.wait([query])
        finally:
            group.query = None
            query.cancel()
        return None if query.cancelled() else query.result()

    async def _poll(self, group: _Group, followers: list[Follower]) -> None:
        """Asks a server without the blocking query for each URI, then waits a little."""
        for follower in followers:
            try:
                follower.want(await self._resolve(follower.uri))
            except ResourceDoesNotExist as error:
                follower.report(f"There is no version to serve: {error.message}")
        self._answered(group)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_interval_s):
                await group.changed.wait()

    async def _refused(self, group: _Group, error: TiltyardError) -> None:
        """Asks for less at once: one that cannot be asked for must not keep the others from being followed."""
        followers = group.followers
        half = len(followers) // 2
        if half:
            group.full = True
            group.followers = followers[:half]
            self._begin(_Group(followers[half:], full=True))
            return
        self._answered(group)
        for follower in followers:
            follower.report(f"the registry cannot say what {follower.uri} names: {error.message}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.watch_wait_s):
                await group.changed.wait()

    def _answered(self, group: _Group) -> None:
        self._unanswered.discard(group)
        if not self._unanswered:
            self._set_connected(True)

    async def _failed(self, group: _Group, error: Exception) -> None:
        if group in self._groups:
            self._unanswered.add(group)
            self._set_connected(False, str(error))
        await asyncio.sleep(self._settings.reconnect_s * (0.5 + random.random()))  # noqa: S311 - spreads load only

    def _set_connected(self, connected: bool, reason: str = "") -> None:
        before = self._connected_now
        self._connected_now = connected
        self._connected.set(1 if connected else 0)
        if connected != before:
            if connected:
                _log.info("models followed at the registry: %d", sum(len(group.followers) for group in self._groups))
            else:
                _log.warning("the registry does not answer, serving goes on with what is loaded: %s", reason)


def _size_bytes(follower: Follower) -> int:
    """What the URI takes in a request line."""
    return len("&uri=") + len(quote_plus(follower.uri))


def _tell(follower: Follower, found: Resolved | Unresolved) -> None:
    if isinstance(found, Unresolved):
        follower.report(f"There is no version to serve: {found.message}")
    elif found.status != READY:
        follower.report(f"{follower.uri} names version {found.version}, which is {found.status}")
    else:
        exact = format_model_uri(found.name, found.version)
        follower.want(ModelTarget(exact, found.name, found.version, found.digest))
