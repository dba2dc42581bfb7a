"""The two reads that are asked most, past the framework: a run by its id, a version by its alias.

Only plain requests that succeed are answered here, in the bytes that their routes would send. Everything else
goes on to the routes, so refusals, unusual spellings and other databases have one home.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import TemporarilyUnavailable, TiltyardError
from tiltyard.names import MAX_ALIAS_CHARS, parse_model_name
from tiltyard_registry.api.framework.dependencies import Schema
from tiltyard_registry.api.framework.errors import refuse
from tiltyard_registry.auth.layer import principal_of
from tiltyard_registry.rules import access
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.store.one_statement.read_run import run_text
from tiltyard_registry.store.one_statement.read_version import version_text
from tiltyard_registry.store.sql.database import Database

logger = logging.getLogger(__name__)

_RUN_ID = re.compile(rb"run_(id|uuid)=([0-9a-f]{32})(?:&run_(?!\1)(?:id|uuid)=\2)?")
Answer = Callable[[Principal, bytes], Awaitable[bytes | None]]


class HotReads:
    """Answers plain reads by one statement; hands every other request on."""

    def __init__(self, app: ASGIApp, database: Database, schema: Schema) -> None:
        self._app = app
        self._database = database
        self._schema = schema
        self._answers: dict[str, Answer] = {}
        if not database.is_sqlite:
            self._answers = {
                "/api/2.0/mlflow/runs/get": self._run,
                "/api/2.0/mlflow/registered-models/alias": self._version,
            }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answers.get(scope.get("path", ""))
        if answer is None or scope.get("method") != "GET":
            await self._app(scope, receive, send)
            return
        try:
            await self._schema.check(self._database)
            body = await answer(principal_of(scope), scope["query_string"])
        except TemporarilyUnavailable as error:
            # Not handed on: the caller has waited for a connection already.
            scope["path_template"] = scope["path"]
            await refuse(error, scope, send)
            return
        except TiltyardError:
            body = None
        except Exception:
            logger.warning("a read by one statement failed; its route answers", exc_info=True)
            body = None
        if body is None:
            await self._app(scope, receive, send)
            return
        scope["path_template"] = scope["path"]
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _run(self, who: Principal, query: bytes) -> bytes | None:
        asked = _RUN_ID.fullmatch(query)
        if asked is None:
            return None
        run_id = asked[2].decode()
        access.require(who, Action.READ, f"run {run_id}")
        return await run_text(self._database, run_id)

    async def _version(self, who: Principal, query: bytes) -> bytes | None:
        asked = parse_qsl(query.decode(), keep_blank_values=True) if query.isascii() else []
        if sorted(key for key, _ in asked) != ["alias", "name"]:
            return None
        given = dict(asked)
        if len(given["alias"]) > MAX_ALIAS_CHARS or given["alias"].lower() == "latest":
            return None
        name = parse_model_name(given["name"]).shown
        access.require(who, Action.READ, f"registered model {name}")
        return await version_text(self._database, name, given["alias"])
