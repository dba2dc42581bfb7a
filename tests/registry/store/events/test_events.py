"""The audit log: one event for every change, none for anything else, over both databases."""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.fixtures.waiting import PATIENCE_S
from tests.registry.store_house import ALICE, House
from tiltyard.errors import InvalidParameterValue, TiltyardError
from tiltyard_registry.rules.events import EVENTS
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.store import models, namespaces, registration
from tiltyard_registry.store import principals as principals_room
from tiltyard_registry.store.events.history import search_events
from tiltyard_registry.store.models import aliases, change_set, model_versions, registered_models, tags
from tiltyard_registry.store.namespaces import catalogs, schemas
from tiltyard_registry.store.namespaces.namespace_rows import Change
from tiltyard_registry.store.principals import grants, levels, memberships, passwords, principals, roles, tokens
from tiltyard_registry.store.registration import create_version, reserved_versions
from tiltyard_registry.store.registration.create_version import NewVersion
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.all_tables import metadata

Arrange = Callable[[House], Awaitable[None]]

_DAYS = {"expires_in_days": 1, "most_days": 1}

# Every door that changes the registry: its arguments, and the actions that it must leave in the log.
DOORS: list[tuple[Callable[..., Awaitable[Any]], tuple[Any, ...], dict[str, Any], list[str]]] = [
    (catalogs.create_catalog, ("c",), {}, ["create_catalog"]),
    (catalogs.update_catalog, ("full", Change(comment="x")), {}, ["update_catalog"]),
    (catalogs.update_catalog, ("full", Change(new_name="n")), {}, ["update_catalog", "rename_registered_model"]),
    (catalogs.delete_catalog, ("empty",), {"force": True}, ["delete_schema", "delete_catalog"]),
    (schemas.create_schema, ("main", "s"), {}, ["create_schema"]),
    (schemas.update_schema, ("full", "s", Change(comment="x")), {}, ["update_schema"]),
    (schemas.update_schema, ("full", "s", Change(new_name="n")), {}, ["update_schema", "rename_registered_model"]),
    (schemas.delete_schema, ("empty", "s"), {}, ["delete_schema"]),
    (
        registered_models.create_registered_model,
        ("new.s.m",),
        {"tags": [{"key": "k", "value": "v"}]},
        ["create_catalog", "create_schema", "create_registered_model"],
    ),
    (registered_models.update_registered_model, ("m",), {"description": "x"}, ["update_registered_model"]),
    (registered_models.rename_registered_model, ("m", "n"), {}, ["rename_registered_model"]),
    (
        registered_models.rename_registered_model,
        ("m", "main.ml.n"),
        {},
        ["create_schema", "rename_registered_model"],
    ),
    (
        registered_models.delete_registered_model,
        ("m",),
        {},
        [
            "delete_registered_model_alias",
            "delete_registered_model_alias",
            *["delete_model_version"] * 3,
            "delete_registered_model",
        ],
    ),
    (tags.set_tag, ("m", None, "new", "v"), {}, ["set_registered_model_tag"]),
    (tags.set_tag, ("m", None, "k", "other"), {}, ["set_registered_model_tag"]),
    (tags.set_tag, ("m", None, "k", "v"), {}, []),
    (tags.set_tag, ("m", None, "k", None), {}, ["delete_registered_model_tag"]),
    (tags.set_tag, ("m", None, "absent", None), {}, []),
    (
        create_version.create_model_version,
        ("artifacts", "m", NewVersion("s3://elsewhere/x")),
        {},
        ["create_model_version"],
    ),
    (reserved_versions.create_pending_version, ("artifacts", "m", "anything"), {}, ["create_model_version"]),
    (reserved_versions.finalize_version, ("artifacts", "m", 3), {}, ["finalize_model_version"]),
    (model_versions.update_model_version, ("m", 1), {"description": "x"}, ["update_model_version"]),
    (model_versions.update_model_version, ("m", 1), {"description": None}, []),
    (
        model_versions.transition_model_version_stage,
        ("m", 2, "Production"),
        {"archive_existing_versions": True},
        ["transition_model_version_stage"] * 2,
    ),
    (model_versions.transition_model_version_stage, ("m", 1, "Production"), {}, []),
    (
        model_versions.delete_model_version,
        ("m", 1),
        {},
        ["delete_registered_model_alias", "delete_model_version"],
    ),
    (tags.set_tag, ("m", 1, "new", "v"), {}, ["set_model_version_tag"]),
    (tags.set_tag, ("m", 1, "k", "v"), {}, []),
    (tags.set_tag, ("m", 1, "k", None), {}, ["delete_model_version_tag"]),
    (tags.set_tag, ("m", 1, "absent", None), {}, []),
    (aliases.set_alias, ("m", "new", 1), {}, ["set_registered_model_alias"]),
    (aliases.set_alias, ("m", "champion", 2), {}, ["set_registered_model_alias"]),
    (aliases.set_alias, ("m", "champion", 1), {}, []),
    (aliases.delete_alias, ("m", "champion"), {}, ["delete_registered_model_alias"]),
    (aliases.delete_alias, ("m", "absent"), {}, []),
    (aliases.rollback_alias, ("m", "moved"), {}, ["set_registered_model_alias"]),
    (
        change_set.apply_changes,
        (
            [
                {"action": "set_alias", "name": "m", "alias": "champion", "version": 2},
                {"action": "set_tag", "name": "m", "key": "new", "value": "v"},
            ],
        ),
        {},
        ["set_registered_model_alias", "set_registered_model_tag"],
    ),
    (principals.create_principal, ("user", "new"), {}, ["create_principal"]),
    (principals.update_principal, ("ann",), {"display_name": "Ann"}, ["update_principal"]),
    (principals.update_principal, ("ann",), {"is_active": True}, []),
    (principals.delete_principal, ("ann",), {}, ["delete_principal"]),
    (memberships.add_member, ("team", "robot"), {}, ["add_group_member"]),
    (memberships.add_member, ("team", "ann"), {}, []),
    (memberships.remove_member, ("team", "ann"), {}, ["remove_group_member"]),
    (memberships.remove_member, ("team", "robot"), {}, []),
    (tokens.create_token, ("new",), {**_DAYS, "scopes": ("read",), "principal": "robot"}, ["create_token"]),
    (tokens.rotate_token, ("token",), {"grace_s": 0}, ["rotate_token"]),
    (tokens.revoke_token, ("token",), {}, ["revoke_token"]),
    (passwords.set_password, ("ann", "hash"), {}, ["update_principal"]),
    (grants.change_grants, ("model", "m", [grants.GrantChange("ann", ["EXECUTE"])]), {}, ["update_permissions"]),
    (grants.change_grants, ("experiment", "0", [grants.GrantChange("team", ["READ"])]), {}, []),
    (levels.set_level, (PrincipalKind.USER, "ann", "experiment", "0", "EDIT"), {}, ["update_permissions"]),
    (roles.create_role, ("new", None), {}, ["create_principal"]),
    (roles.update_role, ("role",), {"name": "other", "description": None}, ["update_principal"]),
    (roles.delete_role, ("role",), {}, ["delete_principal"]),
    (roles.add_permission, ("role", "registered_model", "m", "READ"), {}, ["update_permissions"]),
    (roles.update_permission, ("permission", "EDIT"), {}, ["update_permissions"]),
    (roles.remove_permission, ("permission",), {}, ["update_permissions"]),
    (roles.assign_role, ("ben", "role"), {}, ["add_group_member"]),
    (roles.unassign_role, ("ann", "role"), {}, ["remove_group_member"]),
]
_READS = ("get_", "list_", "search_", "find_", "look_at_", "alias_history", "locate", "resolve")
_READS += ("effective_", "level_of", "names_of_")
# Parts of other doors, which record what they do themselves or are recorded by who calls them.
_PARTS = {
    "change_row",
    "change_version",
    "drop",
    "ensure_schema",
    "grant_privileges",
    "insert_principal",
    "insert_row",
    "insert_version",
    "lock_model",
    "lock_version",
    "move_models",
    "next_version",
    "touch",
}
# What a job says of itself is no change of the registry.
_UNTOLD = {"record_batch_job"}


def _id(case: object) -> str:
    return case.__name__ if callable(case) else ""


async def _furnish(house: House) -> dict[str, Any]:
    """One of everything: model `m` with three versions, aliases, tags, stages; catalogs `full` and `empty`; principals.

    What stands for itself among the arguments of doors, by the word that stands for it.
    """
    async with house.database.write() as session:
        await registered_models.create_registered_model(session, ALICE, "m", tags=[{"key": "k", "value": "v"}])
        await registered_models.create_registered_model(session, ALICE, "full.s.m")
        await catalogs.create_catalog(session, ALICE, "empty")
        await schemas.create_schema(session, ALICE, "empty", "s")
        for _ in range(2):
            new = NewVersion("s3://elsewhere/model")
            await create_version.create_model_version(session, ALICE, house.artifacts, "m", new)
        pending = await reserved_versions.create_pending_version(session, ALICE, house.artifacts, "m", "x")
        await tags.set_tag(session, ALICE, "m", 1, "k", "v")
        await model_versions.transition_model_version_stage(session, ALICE, "m", 1, "Production")
        for alias, version in (("champion", 1), ("moved", 1), ("moved", 2)):
            await aliases.set_alias(session, ALICE, "m", alias, version)
        for name, kind in (("ann", "user"), ("ben", "user"), ("robot", "service"), ("team", "group")):
            row = await principals.create_principal(session, ALICE, kind, name)
        await memberships.add_member(session, ALICE, "team", "ann")
        await grants.change_grants(session, ALICE, "experiment", "0", [grants.GrantChange("team", ["READ"])])
        made = await tokens.create_token(session, ALICE, "t", **_DAYS, scopes=("read",), principal="robot")
    ids = {"token": made.row["id"], "role": row["id"], "permission": f"{row['id']}/experiment/0"}
    await house.upload(f"{house.prefix(pending['storage_location'])}/MLmodel", b"flavors: {}\n")
    return {"artifacts": house.artifacts, **ids}


async def _call(known: dict[str, Any], session: Session, door: Callable[..., Any], args: Any, options: Any) -> None:
    given = [known.get(argument, argument) if isinstance(argument, str) else argument for argument in args]
    await door(session, ALICE, *given, **options)


async def _everything(house: House) -> dict[str, list[Any]]:
    """Every row of every table but the events and the hashes of files."""
    async with house.database.read() as session:
        return {
            table.name: [tuple(row.values()) for row in await session.all(select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
            if table.name not in {"events", "files"}
        }


class _Back(Exception):
    """Rolls a transaction back."""


async def test_every_door_writes_one_event_per_change_and_none_when_it_is_undone(house: House) -> None:
    """Each door in turn, three times: rolled back after it, failing to commit, and for good.

    The first two leave neither rows nor events. The last leaves exactly the events listed, in order, by whom.
    """
    known = await _furnish(house)
    furnished = await _everything(house)
    count = len(await house.events())
    for door, args, options, actions in DOORS:
        with pytest.raises(_Back):
            async with house.database.write() as session:
                await _call(known, session, door, args, options)
                raise _Back

        async def fail() -> None:
            raise ConnectionResetError

        with pytest.raises(TiltyardError, match="does not answer"):
            async with house.database.write() as session:
                await _call(known, session, door, args, options)
                # Runs behind the events, where the commit itself would.
                session.before_commit.append(fail)
        assert await _everything(house) == furnished, door.__name__
        assert len(await house.events()) == count, door.__name__
        with pytest.raises(_Back):
            async with house.database.write(request_id="request-2") as session:
                await _call(known, session, door, args, options)
                for callback in session.before_commit:
                    await callback()
                written, _ = await search_events(session, ALICE, max_results=1000)
                new = written[: len(written) - count][::-1]
                assert [event["action"] for event in new] == actions, door.__name__
                for event in new:
                    assert (event["principal"], event["request_id"]) == ("alice", "request-2")
                    assert event["before"] != event["after"]
                raise _Back


def test_no_door_is_missing_from_the_table() -> None:
    """Every public function of the doors' modules that takes a session is listed above, or reads only."""
    doors = {
        function
        for room in (models, namespaces, registration, principals_room)
        for file in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
        if (module := importlib.import_module(file.name))
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__
        and not name.startswith(("_", *_READS))
        and name not in _PARTS | _UNTOLD
        and inspect.signature(function).parameters.keys() >= {"session", "who"}
    }
    assert doors == {door for door, *_ in DOORS}


def test_every_event_there_is_can_be_written() -> None:
    """The table of events names what the doors above leave in the log, and what commands write; no more, no less."""
    by_commands = {"import_registered_model", "import_model_version", "collect_garbage"}
    assert EVENTS.keys() == {action for *_, actions in DOORS for action in actions} | by_commands


async def test_an_event_tells_who_when_what_before_and_after(house: House) -> None:
    """The log is read newest first, narrowed by model, principal and time, page by page."""
    await house.external("m", count=2)
    await house.external("other")
    await house.do(aliases.set_alias, "m", "champion", 1)
    await house.do(aliases.set_alias, "m", "champion", 2)
    await house.do(registered_models.rename_registered_model, "m", "main.ml.m")
    events, _ = await house.see(search_events, model="main.ml.m")
    assert [event["action"] for event in events] == [
        "rename_registered_model",
        "set_registered_model_alias",
        "set_registered_model_alias",
        "create_model_version",
        "create_model_version",
        "create_registered_model",
    ]
    moved = events[1]
    assert (moved["alias"], moved["version"], moved["principal"]) == ("champion", 2, "alice")
    assert (moved["before"], moved["after"]) == ({"version": 1}, {"version": 2})
    pages, token = [], None
    while True:
        page, token = await house.see(search_events, model="main.ml.m", max_results=4, page_token=token)
        pages += page
        if token is None:
            break
    assert pages == events
    assert (await house.see(search_events, principal="nobody"))[0] == []
    everything = await house.events()
    times = [event["time"] for event in everything]
    assert times == sorted(times)
    later, _ = await house.see(search_events, since=times[3], until=times[5])
    assert [event["id"] for event in later[::-1]] == [e["id"] for e in everything if times[3] <= e["time"] <= times[5]]
    for options in ({"max_results": 0}, {"max_results": 1001}, {"page_token": "x"}):
        with pytest.raises(InvalidParameterValue):
            await house.see(search_events, **options)


async def test_ids_and_times_are_in_the_order_of_the_commits(house: House) -> None:
    """Under concurrent writers who are slow to commit, an event that can be seen has none before it still to come."""
    await house.ensure("a")
    await house.ensure("b")
    seen: list[int] = []

    async def write(name: str) -> None:
        for number in range(15):
            async with house.database.write() as session:
                await tags.set_tag(session, ALICE, name, None, "k", str(number))
                await asyncio.sleep(0)

    async def watch() -> None:
        while len(seen) < 32:
            events = await house.events()
            ids = [event["id"] for event in events]
            assert ids[: len(seen)] == seen
            seen[:] = ids

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(write("a"), write("b"), watch())
    async with house.database.read() as session:
        table = metadata.tables["events"].c
        assert await session.scalar(select(func.count(table.id))) == 32


@pytest.mark.parametrize("wrong_ms", [2_000_000_000_000, -1_000_000_000_000])
async def test_one_moment_of_a_wrong_clock_marks_one_event(
    house: House, monkeypatch: pytest.MonkeyPatch, wrong_ms: int
) -> None:
    """Later events bear their own time, all keep their order, and what an alias names now is what it named last."""
    await house.external("m", count=3)
    moved: list[int] = []
    for version, off_ms in ((1, 0), (2, wrong_ms), (3, 0), (1, 0)):
        with monkeypatch.context() as clock:
            clock.setattr("tiltyard_registry.store.events.outbox.now_ms", lambda off_ms=off_ms: now_ms() + off_ms)
            await house.do(aliases.set_alias, "m", "champion", version)
        moved.append(version)
        now = now_ms() + 1
        times = [event["time"] for event in await house.events()]
        if off_ms == 0:
            assert abs(times[-1] - now) < 600_000
        assert [e["after"]["version"] for e in await house.events(model="m") if e["alias"]] == moved
        if version != 2:
            assert (await house.see(aliases.get_alias, "m", "champion", at=now))["version"] == version
            assert await house.see(aliases.list_aliases, "m", at=now) == [{"alias": "champion", "version": version}]
    rolled, _ = await house.see(aliases.alias_history, "m", "champion")
    assert [move["to_version"] for move in rolled] == moved[::-1]
    assert (await house.do(aliases.rollback_alias, "m", "champion"))["version"] == 3


async def test_clocks_that_disagree_by_little_keep_times_in_order(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is a second behind writes the time of the event before its own."""
    await house.ensure("a")
    with monkeypatch.context() as clock:
        clock.setattr("tiltyard_registry.store.events.outbox.now_ms", lambda: now_ms() - 1000)
        await house.ensure("b")
    times = [event["time"] for event in await house.events()]
    assert times == sorted(times)
