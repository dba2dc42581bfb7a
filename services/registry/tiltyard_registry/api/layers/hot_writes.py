"""The writes that are sent most, past the framework: the start of a run, and what is logged to one.

Only what goes well is done here, by one statement, and answered in the bytes that the routes would send. Everything
else goes on to the routes, body and all, so refusals, unusual spellings and other databases have one home.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import TemporarilyUnavailable, TiltyardError
from tiltyard.wire.mlflow import runs as wire
from tiltyard.wire.tags import Tag
from tiltyard_registry.api.framework.binding import camel
from tiltyard_registry.api.framework.dependencies import Schema
from tiltyard_registry.api.framework.errors import refuse
from tiltyard_registry.auth.layer import principal_of
from tiltyard_registry.rules import access
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.rules.entries import Entry, check_param, check_params, check_run_tag, check_run_tags
from tiltyard_registry.rules.experiments import parse_experiment_id
from tiltyard_registry.rules.lifecycle import ACTIVE
from tiltyard_registry.rules.limits import UNLIMITED, check_entries
from tiltyard_registry.rules.metrics import check_batch, check_point, check_points
from tiltyard_registry.rules.runs import either_run_id, new_run
from tiltyard_registry.store.one_statement import log_batch, start_run
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import now_ms

logger = logging.getLogger(__name__)

Write = Callable[[Principal, bytes], Awaitable[bytes | None]]
"""The reply to a body, None when its route shall answer."""

_DONE = b"{}"
# Larger bodies are decoded by their routes, in a thread. This is decoded in a few milliseconds, whatever it holds.
_MAX_BYTES = 256 * 1024


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


class HotWrites:
    """Does plain writes by one statement; hands every other request on."""

    def __init__(self, app: ASGIApp, database: Database, schema: Schema, *, max_body_bytes: int) -> None:
        self._app = app
        self._database = database
        self._schema = schema
        self._max_body_bytes = min(max_body_bytes, _MAX_BYTES)
        self._writes: dict[str, Write] = {}
        # Quotas take a look before and after; that is the doors' work.
        if not database.is_sqlite and database.quotas == UNLIMITED:
            prefix = "/api/2.0/mlflow/runs"
            self._writes = {
                f"{prefix}/create": self._create_run,
                f"{prefix}/log-batch": self._log_batch,
                f"{prefix}/log-metric": self._log_metric,
                f"{prefix}/log-parameter": self._log_param,
                f"{prefix}/set-tag": self._set_tag,
            }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        write = self._writes.get(scope.get("path", ""))
        if write is None or scope.get("method") != "POST" or not _is_json(scope):
            await self._app(scope, receive, send)
            return
        received, body = await self._receive(receive)
        answer = None
        try:
            if body is not None and not _needs_care(body):
                await self._schema.check(self._database)
                answer = await write(principal_of(scope), body)
        except TemporarilyUnavailable as error:
            # Not handed on: the caller has waited for a connection already.
            scope["path_template"] = scope["path"]
            await refuse(error, scope, send)
            return
        except log_batch.OutcomeUnknown as error:
            # Handed on it might be done twice.
            logger.exception("it is not known whether a write by one statement was done")
            scope["path_template"] = scope["path"]
            await refuse(error, scope, send)
            return
        except (TiltyardError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        except Exception:
            logger.warning("a write by one statement failed; its route answers", exc_info=True)
        if answer is None:
            await self._app(scope, _again(received, receive), send)
            return
        scope["path_template"] = scope["path"]
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": False})

    async def _receive(self, receive: Receive) -> tuple[list[Any], bytes | None]:
        """The messages that came, and the whole body; None when it is too large or its sender has gone."""
        received: list[Any] = []
        size_bytes = 0
        while True:
            message: Any = await receive()
            received.append(message)
            size_bytes += len(message.get("body", b""))
            if message["type"] != "http.request" or size_bytes > self._max_body_bytes:
                return received, None
            if not message.get("more_body"):
                return received, b"".join(one.get("body", b"") for one in received)

    async def _create_run(self, who: Principal, body: bytes) -> bytes | None:
        data = _RUN.decode(body)
        check_entries(UNLIMITED, "tags", len(data.tags))
        access.require(who, Action.UPDATE, f"experiment {data.experiment_id}")
        start_time = now_ms() if data.start_time is None else data.start_time
        new = new_run(data.user_id, data.run_name, start_time, _entries(data.tags))
        number, run_id = parse_experiment_id(data.experiment_id), uuid.uuid4().hex
        artifact_uri = await start_run.start(self._database, number, run_id, new)
        if artifact_uri is None:
            return None
        info = wire.RunInfo(
            run_uuid=run_id,
            run_id=run_id,
            experiment_id=str(number),
            run_name=new.run_name,
            user_id=new.user_id,
            status="RUNNING",
            start_time=new.start_time,
            artifact_uri=artifact_uri,
            lifecycle_stage=ACTIVE,
        )
        shown = wire.RunData(metrics=[], params=[], tags=[Tag(*tag) for tag in new.tags])
        run = wire.Run(info=info, data=shown, inputs=wire.RunInputs(dataset_inputs=[], model_inputs=[]))
        return msgspec.json.encode(wire.RunReply(run))

    async def _log_batch(self, who: Principal, body: bytes) -> bytes | None:
        data = _BATCH.decode(body)
        access.require(who, Action.UPDATE, f"run {data.run_id}")
        check_batch(len(data.metrics), len(data.params), len(data.tags))
        metrics = check_points(data.metrics)
        params, tags = check_params(_entries(data.params)), check_run_tags(_entries(data.tags))
        return _DONE if await log_batch.log(self._database, data.run_id, metrics, params, tags) else None

    async def _log_metric(self, who: Principal, body: bytes) -> bytes | None:
        data = _METRIC.decode(body)
        run_id = either_run_id(data.run_id, data.run_uuid)
        access.require(who, Action.UPDATE, f"run {run_id}")
        if data.model_id or data.dataset_name or data.dataset_digest:
            return None
        point = check_point(data.key, data.value, data.timestamp, data.step)
        return _DONE if await log_batch.log(self._database, run_id, metrics=[point]) else None

    async def _log_param(self, who: Principal, body: bytes) -> bytes | None:
        data = _PARAM.decode(body)
        run_id = either_run_id(data.run_id, data.run_uuid)
        access.require(who, Action.UPDATE, f"run {run_id}")
        param = check_param(data.key, data.value)
        return _DONE if await log_batch.log(self._database, run_id, params=[param]) else None

    async def _set_tag(self, who: Principal, body: bytes) -> bytes | None:
        data = _TAG.decode(body)
        run_id = either_run_id(data.run_id, data.run_uuid)
        access.require(who, Action.UPDATE, f"run {run_id}")
        tag = check_run_tag(data.key, data.value)
        return _DONE if await log_batch.log(self._database, run_id, tags=[tag]) else None


def _entries(pairs: list[Tag]) -> list[Entry]:
    return [Entry(pair.key, pair.value) for pair in pairs]


def _needs_care(body: bytes) -> bool:
    return any(letter in body and any(word in body for word in words) for letter, words in _UNSEEN.items())


def _is_json(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return bool(value.partition(b";")[0].strip().lower() == b"application/json")
    return False


def _again(received: list[Any], receive: Receive) -> Receive:
    """Gives what was received once more, then what follows."""
    messages = iter(received)

    async def next_message() -> Any:
        return next(messages, None) or await receive()

    return next_message
