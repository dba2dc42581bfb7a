"""Asks a row of the table as callers of every kind, and looks at what each is answered."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.registry.access import callers, scene
from tests.registry.access.callers import ADMIN, EDITOR, HEADER, OWNER, READER, STRANGER
from tests.registry.access.scene import AS_ADMIN, Names, absent, new_name
from tests.registry.access.table import TABLE, Asked
from tests.registry.api_app import Api, opened
from tiltyard_registry.api.layers import fast_routes
from tiltyard_registry.auth import providers
from tiltyard_registry.auth.layer import principal_of
from tiltyard_registry.rules.access import SEE, Kind, Privilege

P = Privilege
READS = {SEE, P.READ, P.EXECUTE}
EDITS = READS | {P.EDIT, P.CREATE_MODEL_VERSION, P.APPLY_TAG, P.SET_ALIAS, P.TRANSITION_STAGE}
ALLOWED = {STRANGER.name: set[Privilege](), READER.name: READS, EDITOR.name: EDITS, OWNER.name: EDITS | set(P)}
MOUNTS = {"GET", "PUT", "DELETE"}
# Of those that are somebody's: a probe answers everybody.
FAST_PATHS = {path for path in fast_routes.FAST if path.startswith("/api/")}

FastAnswers = list[tuple[str, str, bool]]
"""Path, caller, and whether the fast way had the answer."""


class Registry:
    """The application with callers by header, a scene, and what the fast way answered."""

    def __init__(self, api: Api, fast: FastAnswers, before: dict[str, str], names: Names) -> None:
        self.api = api
        self.fast = fast
        self.before = before
        """What the stranger was answered while nothing was there, by route."""
        self.names = names
        """A scene for those that only read."""

    async def ask(self, row: Asked, names: Names, who: str, *, prefix: str = "/api/", care: bool = False) -> Any:
        """The answer to a row's request; with `care` in a spelling that the fast way hands on."""
        made = {"new": new_name(), **names}
        method, _, route = row.route.partition(" ")
        path = _filled(row.path or route, made)
        if prefix != "/api/":
            path = path.replace("/api/", prefix, 1)
        query, body = dict(_filled(row.query, made)), _filled(row.body, made)
        if care and isinstance(body, dict):
            body = {**body, "unread": "runId entryPoint"} | {"unread2": "runId"}
        elif care:
            query["unread"] = "1"
        headers = {HEADER: who} if who else {}
        return await self.api.ask(method, path, body, params=query, headers=headers)

    async def prepare(self, row: Asked, names: Names) -> None:
        """Has the administrator put the scene in order for a row."""
        for method, path, body in row.before:
            done = await self.api.ask(method, _filled(path, names), _filled(body, names), headers=AS_ADMIN)
            # What is so already may be refused.
            assert done.status_code in {200, 404}, done.text


def _filled(value: Any, names: Names) -> Any:
    if isinstance(value, str):
        return value.format(**names)
    if isinstance(value, dict):
        return {key: _filled(one, names) for key, one in value.items()}
    return [_filled(one, names) for one in value] if isinstance(value, list) else value


NOTHING: Names = {
    "catalog": "gone",
    "schema": "gone.ml",
    "model": "gone.ml.iris",
    "experiment": scene.ABSENT_EXPERIMENT,
    "experiment_name": "gone",
    "run": "0" * 32,
    "logged_model": f"m-{'0' * 32}",
}


def _noted(path: str, route: fast_routes.FastRoute, notes: FastAnswers) -> fast_routes.FastRoute:
    async def answer(database: Any, scope: Any, asked: bytes) -> bytes | None:
        found = await route.answer(database, scope, asked)
        notes.append((path, principal_of(scope).name, found is not None))
        return found

    return route._replace(answer=answer)


def unnamed(row: Asked, text: str, names: Names) -> str:
    """An answer without the names that the row's request held, to be compared with the answer about others."""
    asked = f"{row.route} {row.path} {row.query} {row.body}"
    for key in sorted(names, key=lambda key: -len(names[key])):
        if f"{{{key}}}" in asked:
            text = re.sub(rf"\b{re.escape(names[key])}\b", f"<{key}>", text)
    return text


def prefixes(row: Asked) -> list[str]:
    both = "/api/2.0/mlflow" in row.route
    return ["/api/", "/ajax-api/"] if both else ["/api/"]


def _refused_for(row: Asked, who: str, answer: httpx2.Response) -> None:
    """They are told which privilege is missing, and nothing else."""
    assert answer.status_code == 403, answer.text
    assert f"Principal '{who}' lacks {row.wanted.name} on " in answer.json()["message"], answer.text


async def check(registry: Registry, row: Asked, names: Names, *, prefix: str, care: bool, last: bool = False) -> None:
    twin = absent(names)

    async def ask(who: str, of: Names = names) -> httpx2.Response:
        return await registry.ask(row, of, who, prefix=prefix, care=care)

    unknown = await ask("")
    assert unknown.status_code == 401, unknown.text
    for who, allowed in ALLOWED.items():
        if last and who != OWNER.name and row.wanted in allowed:
            continue
        await registry.prepare(row, names)
        there, gone = await ask(who), await ask(who, twin)
        if row.kind is Kind.ROOT:
            _refused_for(row, who, there) if row.wanted not in allowed else _answered(row, there)
        elif who == STRANGER.name:
            # They learn nothing: neither from what is said, nor from the status.
            assert there.status_code == gone.status_code
            assert unnamed(row, there.text, names) == unnamed(row, gone.text, twin)
            assert "secret" not in there.text
            if row.is_list:
                assert unnamed(row, there.text, names) == unnamed(row, registry.before[row.route], NOTHING)
            else:
                assert there.status_code in {403, 404}, there.text
        elif row.wanted in allowed:
            _answered(row, there)
            if row.is_list:
                assert unnamed(row, there.text, names) != unnamed(row, registry.before[row.route], NOTHING)
        else:
            _refused_for(row, who, there)


async def check_administrators(registry: Registry, row: Asked) -> None:
    """Asks a row that is for administrators alone."""
    names = {**registry.names, "new": new_name()}
    await registry.prepare(row, names)
    assert (await registry.ask(row, names, "")).status_code == 401
    for who in (STRANGER, READER, OWNER):
        refused = await registry.ask(row, names, who.name)
        assert refused.status_code == 403, refused.text
        assert f"Principal '{who.name}' is no administrator, which " in refused.json()["message"]
    done = await registry.ask(row, names, ADMIN.name)
    assert done.status_code == 200, done.text


def _answered(row: Asked, answer: httpx2.Response) -> None:
    assert answer.status_code == row.answers, answer.text


def is_fast(row: Asked) -> bool:
    """Whether the row's method has a fast way."""
    route = fast_routes.FAST[row.route.partition(" ")[2]]
    return row.route.startswith("POST " if route.writes else "GET ")


@asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[Registry]:
    """A registry whose callers are named by a header, with a scene."""
    fast: FastAnswers = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(providers.PROVIDERS, "header", f"{callers.__name__}:ByHeader")
        for path in FAST_PATHS:
            route = fast_routes.FAST[path]
            patch.setitem(fast_routes.FAST, path, _noted(path, route, fast))
        async with opened(folder, auth=("header",), default_grants="none", **settings) as api:
            empty = Registry(api, fast, {}, NOTHING)
            nothing = {row.route: (await empty.ask(row, NOTHING, STRANGER.name)).text for row in TABLE if row.is_list}
            await callers.make_known(api.app.state.database)
            names = await scene.build(api)
            for privilege in (P.CREATE_EXPERIMENT, P.CREATE_CATALOG):
                await callers.grant(api.app.state.database, OWNER.id or 0, Kind.ROOT, 0, privilege)
            yield Registry(api, fast, nothing, names)
