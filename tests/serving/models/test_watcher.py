"""The watcher follows state: whatever happens to the connection, the last state is what is wanted."""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import uvicorn

from tests.fixtures.processes import unused_port
from tests.fixtures.waiting import until
from tiltyard.errors import ResourceDoesNotExist
from tiltyard_serving.models.target import ModelTarget
from tiltyard_serving.models.watcher import QUERY_BYTES, QUERY_URIS, Watcher
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import ServingSettings


class Registry:
    """A server of the blocking query alone, which can misbehave."""

    def __init__(self) -> None:
        self.port = unused_port()
        self.versions: dict[str, str] = {}
        self.status = "READY"
        self.fault: str | None = None
        # What it takes in one query, and what it never takes.
        self.most, self.refused = 256, ""
        self.queries: list[dict[str, list[str]]] = []
        # How many of them it held back to the end of their wait.
        self.unchanged = 0
        self._changed = asyncio.Event()
        self._server: uvicorn.Server | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        config = uvicorn.Config(
            self.app, interface="asgi3", port=self.port, log_config=None, lifespan="off", timeout_graceful_shutdown=0
        )
        server = self._server = uvicorn.Server(config)
        self._running = asyncio.create_task(server.serve())
        await until(lambda: server.started)

    async def stop(self) -> None:
        if self._server is not None and self._running is not None:
            self._server.should_exit = self._server.force_exit = True
            await self._running
            self._server = None

    async def set(self, uri: str, version: str) -> None:
        self.versions[uri] = version
        before, self._changed = self._changed, asyncio.Event()
        before.set()

    def state(self, uris: list[str]) -> bytes:
        models: list[dict[str, Any]] = []
        for uri in uris:
            version = self.versions.get(uri)
            if version is None:
                models.append(
                    {"outcome": "unresolved", "uri": uri, "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}
                )
            else:
                models.append(
                    {
                        "outcome": "resolved",
                        "uri": uri,
                        "name": "iris",
                        "version": version,
                        "digest": f"sha256:{version}",
                        "source": "runs:/1/model",
                        "run_id": None,
                        "model_id": None,
                        "status": self.status,
                        "external": False,
                        "location": "mlflow-artifacts:/1",
                    }
                )
        return json.dumps({"models": models}).encode()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        query = parse_qs(scope["query_string"].decode())
        headers = dict(scope["headers"])
        self.queries.append(query)
        if self.fault == "plain":
            await answer(send, 404, b"<html>Not Found</html>")
            return
        if self.fault is not None:
            await answer(send, 500, self.fault.encode())
            return
        if len(query["uri"]) > self.most or self.refused in query["uri"]:
            await answer(send, 400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}')
            return
        known = headers.get(b"if-none-match")
        until_s = time.monotonic() + float(query.get("wait", ["0"])[0])
        while etag(body := self.state(query["uri"])) == known:
            try:
                async with asyncio.timeout(until_s - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                self.unchanged += 1
                await answer(send, 304, b"", known)
                return
        await answer(send, 200, body, etag(body))


def etag(body: bytes) -> bytes:
    return b'"' + hashlib.sha256(body).hexdigest().encode() + b'"'


async def answer(send: Any, status: int, body: bytes, tag: bytes | None = None) -> None:
    headers = [(b"content-type", b"application/json")] + ([(b"etag", tag)] if tag else [])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Follower:
    """Writes down what it is told."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.wanted: list[str | None] = []
        self.problems: list[str | None] = []

    def want(self, target: ModelTarget) -> None:
        if self.wanted[-1:] != [target.version]:
            self.wanted.append(target.version)

    def report(self, problem: str | None) -> None:
        self.problems.append(problem)


async def unresolvable(uri: str) -> ModelTarget:
    raise ResourceDoesNotExist(uri)


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry()
    await registry.start()
    yield registry
    await registry.stop()


@contextlib.asynccontextmanager
async def watching(registry: Registry, *uris: str, resolve: Any = unresolvable, **settings: Any) -> AsyncIterator[Any]:
    telemetry = Telemetry()
    options = {"reconnect_s": 0.05, "watch_wait_s": 1.0, "poll_interval_s": 0.05} | settings
    watcher = Watcher(ServingSettings(registry_url=registry.url, **options), telemetry, resolve)
    followers = [Follower(uri) for uri in uris]
    for follower in followers:
        watcher.follow(follower)
    task = asyncio.create_task(watcher.run())

    def connected() -> bool:
        return b"tiltyard_serving_registry_connected 1.0" in telemetry.text()

    yield watcher, followers, connected
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


A, B = "models:/iris@champion", "models:/iris@challenger"
LONG_S = 600.0
"""A wait that no test sees the end of."""


async def test_a_promotion_is_told_at_once(registry: Registry) -> None:
    """The first state and every change of it reach the follower, long before the wait of its query ends."""
    await registry.set(A, "1")
    async with watching(registry, A, watch_wait_s=LONG_S) as (_, [follower], connected):
        await until(lambda: follower.wanted == ["1"])
        assert connected()
        for version in ("2", "3", "1"):
            await registry.set(A, version)
            await until(lambda version=version: follower.wanted[-1] == version)
        assert follower.wanted == ["1", "2", "3", "1"]


async def test_one_query_follows_everything(registry: Registry) -> None:
    """All URIs are asked for together, and only the ones that changed tell something new."""
    await registry.set(A, "1")
    await registry.set(B, "2")
    async with watching(registry, A, B) as (_, [a, b], _connected):
        await until(lambda: a.wanted == ["1"] and b.wanted == ["2"])
        await registry.set(B, "3")
        await until(lambda: b.wanted == ["2", "3"])
        assert a.wanted == ["1"]
        assert all(query["uri"] == [A, B] for query in registry.queries)


async def test_an_unchanged_state_is_asked_for_without_haste(registry: Registry) -> None:
    """While nothing changes one query is held back by the registry for the whole wait."""
    await registry.set(A, "1")
    async with watching(registry, A, watch_wait_s=0.3) as (_, [follower], _connected):
        await until(lambda: follower.wanted == ["1"])
        before = len(registry.queries)
        await until(lambda: len(registry.queries) >= before + 3)
        # Each was asked once the one before it had been held back to its end.
        assert len(registry.queries) - before <= registry.unchanged + 1
        assert all(query["wait"] == ["0.3"] for query in registry.queries[before:])


async def test_a_promotion_while_the_connection_was_lost_is_not_missed(registry: Registry) -> None:
    """After the registry was away, its new state arrives with the reconnect, and the metric tells of both."""
    await registry.set(A, "1")
    async with watching(registry, A) as (_, [follower], connected):
        await until(lambda: follower.wanted == ["1"])
        await registry.stop()
        await until(lambda: not connected())
        await registry.set(A, "2")
        await registry.start()
        await until(lambda: follower.wanted == ["1", "2"])
        assert connected()


@pytest.mark.parametrize("fault", ["database gone", "{}", '{"models": 5}'])
async def test_bad_answers_are_survived(registry: Registry, fault: str) -> None:
    """A registry that answers with errors or nonsense is asked again until it answers well."""
    await registry.set(A, "1")
    registry.fault = fault
    async with watching(registry, A) as (_, [follower], connected):
        await until(lambda: len(registry.queries) >= 3)
        assert not connected()
        assert not follower.wanted
        registry.fault = None
        await until(lambda: follower.wanted == ["1"])


async def test_an_alias_that_names_nothing_is_reported(registry: Registry) -> None:
    """A follower hears that its URI names nothing, and of its version once it does."""
    async with watching(registry, A) as (_, [follower], connected):
        await until(lambda: any(follower.problems))
        assert connected()
        await registry.set(A, "1")
        await until(lambda: follower.wanted == ["1"])


async def test_a_version_that_is_not_ready_is_waited_for(registry: Registry) -> None:
    """A version still being registered is not wanted before it is ready."""
    registry.status = "PENDING_REGISTRATION"
    await registry.set(A, "1")
    async with watching(registry, A) as (_, [follower], _connected):
        await until(lambda: any(follower.problems))
        assert not follower.wanted
        registry.status = "READY"
        await registry.set(A, "1")
        await until(lambda: follower.wanted == ["1"])


async def test_followers_come_and_go(registry: Registry) -> None:
    """A new follower is asked for at once, in the middle of a wait; a forgotten one no longer."""
    await registry.set(A, "1")
    await registry.set(B, "2")
    async with watching(registry, A, watch_wait_s=LONG_S) as (watcher, [a], _connected):
        await until(lambda: a.wanted == ["1"])
        b = Follower(B)
        watcher.follow(b)
        await until(lambda: b.wanted == ["2"])
        watcher.forget(a)
        # The first is answered at once, the second held back.
        await until(lambda: [query["uri"] for query in registry.queries[-2:]] == [[B], [B]])
        watcher.forget(b)
        before = len(registry.queries)
        watcher.follow(again := Follower(A))
        await until(lambda: again.wanted == ["1"])
        assert all(query["uri"] == [A] for query in registry.queries[before:])


async def test_however_many_are_followed_each_is_told(registry: Registry) -> None:
    """No query asks for more than a registry and a proxy take, and a promotion arrives wherever it is asked for."""
    uris = [f"models:/main.many.model{number}@champion" for number in range(700)]
    long = "\U0001f600" * 255
    uris += [f"models:/{long}.{number}.m@champion" for number in range(20)]
    registry.versions = dict.fromkeys(uris, "1")
    async with watching(registry, *uris, watch_wait_s=LONG_S) as (watcher, followers, connected):
        await until(lambda: all(follower.wanted == ["1"] for follower in followers))
        assert connected()
        for query in registry.queries:
            assert len(query["uri"]) <= QUERY_URIS
            assert len(urlencode(query, doseq=True)) <= QUERY_BYTES + 100
        for at in (0, 699, -1):
            await registry.set(uris[at], "2")
            await until(lambda at=at: followers[at].wanted == ["1", "2"])
        for follower in followers[1:]:
            watcher.forget(follower)
        asked = len(registry.queries)
        await registry.set(uris[0], "3")
        await until(lambda: followers[0].wanted[-1] == "3")
        assert all(query["uri"] == uris[:1] for query in registry.queries[asked + 20 :])


async def test_a_registry_that_takes_less_is_asked_for_less(registry: Registry) -> None:
    """A query that is refused is split; who cannot be asked for at all is told so, and the others are followed."""
    uris = [f"models:/main.many.model{number}@champion" for number in range(20)]
    registry.versions = dict.fromkeys(uris, "1")
    registry.most, registry.refused = 3, uris[7]
    async with watching(registry, *uris, watch_wait_s=LONG_S) as (_, followers, connected):
        others = [follower for follower in followers if follower.uri != registry.refused]
        await until(lambda: all(follower.wanted == ["1"] for follower in others) and bool(followers[7].problems))
        assert connected()
        assert "cannot say" in followers[7].problems[-1]
        await registry.set(uris[8], "2")
        await until(lambda: followers[8].wanted == ["1", "2"])


async def test_a_plain_mlflow_server_is_polled(registry: Registry) -> None:
    """A server without the blocking query is asked again and again, and its changes arrive."""
    registry.fault = "plain"
    versions = {A: "1"}

    async def resolve(uri: str) -> ModelTarget:
        if uri not in versions:
            raise ResourceDoesNotExist("no alias")
        return ModelTarget(f"models:/iris/{versions[uri]}", "iris", versions[uri])

    async with watching(registry, A, B, resolve=resolve) as (_, [a, b], connected):
        await until(lambda: a.wanted == ["1"] and any(b.problems))
        assert connected()
        versions |= {A: "2", B: "5"}
        await until(lambda: a.wanted == ["1", "2"] and b.wanted == ["5"])
