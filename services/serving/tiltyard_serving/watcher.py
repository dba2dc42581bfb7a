"""Follows which versions the served aliases, stages and numbers name, as state and not as events.

One blocking query asks for everything that is followed: the registry answers at once if its state differs
from the one known here, else when it changes or the wait ends. So a lost connection costs a reconnect and
never a missed promotion. While the registry is away, what is served stays.

A plain MLflow server has no such query; it is asked again and again.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import httpx2

from tiltyard.client import calls, http
from tiltyard.client.calls import Resolution
from tiltyard.errors import EndpointNotFound, ResourceDoesNotExist, TiltyardError, TransportError
from tiltyard.uri import format_model_uri
from tiltyard.wire.registry import Resolved, Unresolved
from tiltyard_serving.loading import Target
from tiltyard_serving.settings import Settings
from tiltyard_serving.telemetry import Telemetry

ANSWER_TIMEOUT_S = 5.0
READY = "READY"
_SOON_S = 0.05

_log = logging.getLogger(__name__)


class Follower(Protocol):
    """Who wants to know what its URI names."""

    uri: str

    def want(self, target: Target) -> None: ...

    def report(self, problem: str | None) -> None: ...


class Watcher:
    """Tells each follower the version that its URI names, first and whenever it changes."""

    def __init__(self, settings: Settings, telemetry: Telemetry, resolve: Callable[[str], Awaitable[Target]]) -> None:
        self._settings = settings
        self._connected = telemetry.registry_connected
        self._resolve = resolve
        self._followers: list[Follower] = []
        self._changed = asyncio.Event()
        self._query: asyncio.Task[Resolution] | None = None
        self._connection = http.Settings(settings.registry_url, None, ANSWER_TIMEOUT_S)
        self._connected_now: bool | None = None
        self._connected.set(0)

    @property
    def away(self) -> bool:
        """Whether the registry was asked last and did not answer."""
        return self._connected_now is False

    def follow(self, follower: Follower) -> None:
        """Starts to follow what `follower.uri` names."""
        self._followers.append(follower)
        self._ask_again()

    def forget(self, follower: Follower) -> None:
        """Ends that."""
        if follower in self._followers:
            self._followers.remove(follower)
            self._ask_again()

    async def run(self) -> None:
        """Follows until it is cancelled."""
        async with httpx2.AsyncClient(**self._connection.options) as client:
            while True:
                while not self._followers:
                    self._changed.clear()
                    await self._changed.wait()
                try:
                    await self._follow(client)
                except (TransportError, TiltyardError) as error:
                    await self._failed(error)
                except Exception as error:
                    _log.exception("the registry's answer could not be used")
                    await self._failed(error)

    async def _follow(self, client: httpx2.AsyncClient) -> None:
        """Asks with one set of followers until that set changes.

        Raises:
            TransportError: the registry gives no answer.
            TiltyardError: it gives a bad one.
        """
        self._changed.clear()
        followers = list(self._followers)
        etag: str | None = None
        while not self._changed.is_set():
            began_s = time.monotonic()
            try:
                resolution = await self._ask(client, [follower.uri for follower in followers], etag)
            except (EndpointNotFound, ResourceDoesNotExist):
                await self._poll(followers)
                return
            if resolution is None:
                return
            self._set_connected(True)
            etag = resolution.etag or None
            for follower, found in zip(followers, resolution.models or (), strict=False):
                _tell(follower, found)
            if resolution.models is None and time.monotonic() - began_s < _SOON_S:
                # A server that does not wait must not be asked without pause.
                await asyncio.sleep(self._settings.reconnect_s)

    async def _ask(self, client: httpx2.AsyncClient, uris: list[str], etag: str | None) -> Resolution | None:
        """The answer to one blocking query; None when the followers changed before it came."""
        call = calls.resolve(uris, wait_s=self._settings.watch_wait_s, etag=etag)

        async def once() -> Resolution:
            with http.faults() as outcome:
                outcome.append(http.answer_of(await client.request(**self._connection.request(call))))
            return call.result(http.answered(outcome[0], self._connection.url))

        query = self._query = asyncio.create_task(once())
        try:
            await asyncio.wait([query])
        finally:
            self._query = None
            query.cancel()
        return None if query.cancelled() else query.result()

    async def _poll(self, followers: list[Follower]) -> None:
        """Asks a server without the blocking query for each URI, then waits a little."""
        for follower in followers:
            try:
                follower.want(await self._resolve(follower.uri))
            except ResourceDoesNotExist as error:
                follower.report(f"{follower.uri} names nothing: {error.message}")
        self._set_connected(True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_interval_s):
                await self._changed.wait()

    async def _failed(self, error: Exception) -> None:
        self._set_connected(False, str(error))
        await asyncio.sleep(self._settings.reconnect_s * (0.5 + random.random()))  # noqa: S311 - spreads load only

    def _set_connected(self, connected: bool, reason: str = "") -> None:
        before = self._connected_now
        self._connected_now = connected
        self._connected.set(1 if connected else 0)
        if connected != before:
            if connected:
                _log.info("following %d models", len(self._followers))
            else:
                _log.warning("the registry does not answer, serving goes on with what is loaded: %s", reason)

    def _ask_again(self) -> None:
        self._changed.set()
        if self._query is not None:
            self._query.cancel()


def _tell(follower: Follower, found: Resolved | Unresolved) -> None:
    if isinstance(found, Unresolved):
        follower.report(f"{follower.uri} names nothing: {found.message}")
    elif found.status != READY:
        follower.report(f"{follower.uri} names version {found.version}, which is {found.status}")
    else:
        exact = format_model_uri(found.name, found.version)
        follower.want(Target(exact, found.name, found.version, found.digest))
