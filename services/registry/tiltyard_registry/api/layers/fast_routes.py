"""The requests that are sent most, past the framework: a run's start, what is logged, a run, a version, a probe.

A fast route is a door too: `store.one_statement` asks and checks as the ordinary doors do. Only what goes well is
answered here, in the bytes that the routes would send. Everything else goes on to the routes, body and all, so
refusals and unusual spellings have one home.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import TemporarilyUnavailable, TiltyardError
from tiltyard.wire.mlflow import runs as wire
from tiltyard_registry.api.framework.binding import camel
from tiltyard_registry.api.framework.dependencies import Schema
from tiltyard_registry.api.framework.errors import refuse
from tiltyard_registry.api.framework.raw import Response
from tiltyard_registry.api.framework.replies import entries
from tiltyard_registry.auth.layer import principal_of
from tiltyard_registry.rules.limits import UNLIMITED
from tiltyard_registry.rules.runs import either_run_id
from tiltyard_registry.store.one_statement import log_batch as batches
from tiltyard_registry.store.one_statement.reads import read_run, read_version, read_version_by_alias
from tiltyard_registry.store.one_statement.start_run import OutcomeUnknown, start_run
from tiltyard_registry.store.sql.database import Database

logger = logging.getLogger(__name__)

_JSON = [(b"content-type", b"application/json")]
_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]
_DONE = b"{}"
# Larger bodies are decoded by their routes, in a thread. This is decoded in a few milliseconds, whatever it holds.
_MAX_BYTES = 256 * 1024
_RUN_ID = re.compile(rb"run_(id|uuid)=([0-9a-f]{32})(?:&run_(?!\1)(?:id|uuid)=\2)?")

_BATCH = msgspec.json.Decoder(wire.LogBatch, strict=False)
_METRIC = msgspec.json.Decoder(wire.LogMetric, strict=False)
_PARAM = msgspec.json.Decoder(wire.LogParam, strict=False)
_TAG = msgspec.json.Decoder(wire.SetRunTag, strict=False)
_RUN = msgspec.json.Decoder(wire.CreateRun, strict=False)

# What these decoders would read without seeing: the character NUL, and the other spelling of a name. By the letter
# that most bodies lack, for a single letter is found many times quicker than a word.
_UNSEEN = {b"\\": [b"\\u0000"]}
for _name in {name for kind in (wire.LogBatch, wire.LogMetric, wire.CreateRun) for name in kind.__struct_fields__}:
    if "_" in _name:
        _UNSEEN.setdefault(_name.partition("_")[2][0].upper().encode(), []).append(f'"{camel(_name)}"'.encode())


class FastRoute(NamedTuple):
    """One fast route.

    Attributes:
        answer: the reply to a query, or to a body of JSON; None when the route shall answer.
        writes: whether it takes a body, and changes something.
        headers: of the reply.
    """

    answer: Callable[[Database, Scope, bytes], Awaitable[bytes | None]]
    writes: bool = False
    headers: list[tuple[bytes, bytes]] = _JSON


async def _get_run(database: Database, scope: Scope, query: bytes) -> bytes | None:
    asked = _RUN_ID.fullmatch(query)
    return None if asked is None else await read_run(database, principal_of(scope), asked[2].decode())


async def _get_version(database: Database, scope: Scope, query: bytes) -> bytes | None:
    asked = _asked(query, "name", "version")
    return None if asked is None else await read_version(database, principal_of(scope), **asked)


async def _get_version_by_alias(database: Database, scope: Scope, query: bytes) -> bytes | None:
    asked = _asked(query, "alias", "name")
    return None if asked is None else await read_version_by_alias(database, principal_of(scope), **asked)


def _asked(query: bytes, *names: str) -> dict[str, str] | None:
    """The parameters of a query that has these alone, once each."""
    asked = parse_qsl(query.decode(), keep_blank_values=True) if query.isascii() else []
    return dict(asked) if sorted(name for name, _ in asked) == [*names] else None


async def _create_run(database: Database, scope: Scope, body: bytes) -> bytes | None:
    data = _RUN.decode(body)
    row = await start_run(
        database,
        principal_of(scope),
        data.experiment_id,
        user_id=data.user_id,
        run_name=data.run_name,
        start_time=data.start_time,
        tags=entries(data.tags),
    )
    # What has just begun lacks nothing and holds nothing that the wire would say otherwise.
    return None if row is None else msgspec.json.encode({"run": row})


async def _log_batch(database: Database, scope: Scope, body: bytes) -> bytes | None:
    data = _BATCH.decode(body)
    params, tags = entries(data.params), entries(data.tags)
    return _done(await batches.log_batch(database, principal_of(scope), data.run_id, data.metrics, params, tags))


async def _log_metric(database: Database, scope: Scope, body: bytes) -> bytes | None:
    data = _METRIC.decode(body)
    if data.model_id or data.dataset_name or data.dataset_digest:
        return None
    run_id = either_run_id(data.run_id, data.run_uuid)
    return _done(await batches.log_metric(database, principal_of(scope), run_id, data))


async def _log_param(database: Database, scope: Scope, body: bytes) -> bytes | None:
    data = _PARAM.decode(body)
    run_id = either_run_id(data.run_id, data.run_uuid)
    return _done(await batches.log_param(database, principal_of(scope), run_id, data.key, data.value))


async def _set_tag(database: Database, scope: Scope, body: bytes) -> bytes | None:
    data = _TAG.decode(body)
    run_id = either_run_id(data.run_id, data.run_uuid)
    return _done(await batches.set_tag(database, principal_of(scope), run_id, data.key, data.value))


async def _health(database: Database, _scope: Scope, _query: bytes) -> bytes | None:
    # Another database may be silent, or its disk full: the route waits for it, and says what is wrong.
    is_well = database.is_sqlite and not database.is_full and await database.ping()
    return b"OK" if is_well else None


FAST: dict[str, FastRoute] = {
    "/health": FastRoute(_health, headers=_TEXT),
    "/api/2.0/mlflow/runs/get": FastRoute(_get_run),
    "/api/2.0/mlflow/registered-models/alias": FastRoute(_get_version_by_alias),
    "/api/2.0/mlflow/model-versions/get": FastRoute(_get_version),
    "/api/2.0/mlflow/runs/create": FastRoute(_create_run, writes=True),
    "/api/2.0/mlflow/runs/log-batch": FastRoute(_log_batch, writes=True),
    "/api/2.0/mlflow/runs/log-metric": FastRoute(_log_metric, writes=True),
    "/api/2.0/mlflow/runs/log-parameter": FastRoute(_log_param, writes=True),
    "/api/2.0/mlflow/runs/set-tag": FastRoute(_set_tag, writes=True),
}


class FastRoutes:
    """Answers plain requests by one visit to the database; hands every other one on."""

    def __init__(
        self, app: ASGIApp, database: Database, schema: Schema, draining: asyncio.Event, *, max_body_bytes: int
    ) -> None:
        """`draining` says that the server is told to stop: then the routes answer everything."""
        self._app = app
        self._draining = draining
        self._database = database
        self._schema = schema
        self._max_body_bytes = min(max_body_bytes, _MAX_BYTES)
        # Quotas take a look before and after; that is the ordinary doors' work.
        writes = database.quotas == UNLIMITED
        self._routes = {path: route for path, route in FAST.items() if writes or not route.writes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope.get("path", ""))
        method = scope.get("method")
        if route is None or method != ("POST" if route.writes else "GET") or self._draining.is_set():
            await self._app(scope, receive, send)
            return
        asked: bytes | None
        if not route.writes:
            asked = scope["query_string"]
        elif _is_json(scope):
            receive, asked = await self._received(receive)
        else:
            asked = None
        answer = None
        try:
            if asked is not None:
                await self._schema.check(self._database)
                answer = await route.answer(self._database, scope, asked)
        except (TemporarilyUnavailable, OutcomeUnknown) as error:
            # Not handed on: the caller has waited for a connection already, or it might be done twice.
            if isinstance(error, OutcomeUnknown):
                logger.exception("it is not known whether a write by one statement was done")
            scope["path_template"] = scope["path"]
            await refuse(error, scope, send)
            return
        except (TiltyardError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        except Exception:
            logger.warning("one statement failed; its route answers", exc_info=True)
        if answer is None:
            await self._app(scope, receive, send)
            return
        scope["path_template"] = scope["path"]
        await Response(send, head=False).whole(200, route.headers, answer)

    async def _received(self, receive: Receive) -> tuple[Receive, bytes | None]:
        """What gives the messages that came once more, and the whole body.

        None when it is too large, its sender has gone, or a decoder would not see all that is in it.
        """
        received: list[Any] = []
        size_bytes = 0
        body = None
        while True:
            message: Any = await receive()
            received.append(message)
            size_bytes += len(message.get("body", b""))
            if message["type"] != "http.request" or size_bytes > self._max_body_bytes:
                break
            if not message.get("more_body"):
                body = b"".join(one.get("body", b"") for one in received)
                break
        return _again(received, receive), None if body is None or _needs_care(body) else body


def _done(is_stored: bool) -> bytes | None:
    return _DONE if is_stored else None


def _needs_care(body: bytes) -> bool:
    return any(letter in body and any(word in body for word in words) for letter, words in _UNSEEN.items())


def _is_json(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return bool(value.partition(b";")[0].strip().lower() == b"application/json")
    return False


def _again(received: list[Any], receive: Receive) -> Receive:
    messages = iter(received)

    async def next_message() -> Any:
        return next(messages, None) or await receive()

    return next_message
