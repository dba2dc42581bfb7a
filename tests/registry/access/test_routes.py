"""Every route, by both prefixes and both ways, for callers of every kind: what each may do, what the others learn."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from litestar.routes import ASGIRoute, HTTPRoute

from tests.fixtures.databases import BACKENDS, migrated_sqlite
from tests.registry.access import scene
from tests.registry.access.callers import OWNER, READER, STRANGER
from tests.registry.access.checks import (
    FAST_PATHS,
    MOUNTS,
    P,
    Registry,
    check,
    check_administrators,
    is_fast,
    prefixes,
    running,
)
from tests.registry.access.scene import absent
from tests.registry.access.table import LAST, PUBLIC, Asked
from tests.registry.access.table import TABLE as OF_OBJECTS
from tests.registry.access.table_of_doors import ADMIN_DOORS, DOORS, DOORS_FOR_KNOWN
from tests.registry.access.table_of_principals import FOR_KNOWN as OF_PRINCIPALS
from tests.registry.access.table_of_principals import GRANTS
from tests.registry.access.table_of_principals import OF_ADMINS as ABOUT_PRINCIPALS

TABLE = [*OF_OBJECTS, *GRANTS, *DOORS]
OF_ADMINS = [*ABOUT_PRINCIPALS, *ADMIN_DOORS]
FOR_KNOWN = OF_PRINCIPALS | DOORS_FOR_KNOWN


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BACKENDS)
async def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Registry]:
    """One application for the module. Who changes anything does so in a scene of their own."""
    settings, folder = {}, tmp_path_factory.mktemp(f"access-{request.param}")
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres_server").create_database()
    else:
        migrated_sqlite(folder / "tiltyard.db")
    async with running(folder, **settings) as registry:
        yield registry


def _id(row: Asked) -> str:
    return f"{row.route}{'*' if row.path else ''}".replace("/api/2.0/mlflow", "")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", TABLE, ids=_id)
async def test_each_may_do_what_they_were_granted(registry: Registry, row: Asked) -> None:
    """Who has the privilege is answered, who sees the object hears what they lack, others that nothing is there."""
    names = await scene.build(registry.api)
    for prefix in prefixes(row):
        await check(registry, row, names, prefix=prefix, care=False)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", LAST, ids=_id)
async def test_each_may_remove_what_they_were_granted(registry: Registry, row: Asked) -> None:
    """The same of requests after which something is gone: nothing is, until the owner asks."""
    for prefix in prefixes(row):
        await check(registry, row, await scene.build(registry.api), prefix=prefix, care=False, last=True)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", OF_ADMINS, ids=_id)
async def test_administrators_alone_may_do_it(registry: Registry, row: Asked) -> None:
    """Whatever was granted to others, they hear that it takes an administrator."""
    await check_administrators(registry, row)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", sorted(FOR_KNOWN))
async def test_what_is_about_the_caller_wants_to_know_them(registry: Registry, route: str) -> None:
    """Who is unknown is told so, before anything of the request is looked at."""
    method, _, path = route.partition(" ")
    assert (await registry.api.ask(method, path.format(name="x", id=1), b"{")).status_code == 401


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", sorted(FAST_PATHS))
async def test_both_ways_decide_alike(registry: Registry, path: str) -> None:
    """A route with a fast way answers each caller as its ordinary way does, and answers the allowed by the fast one."""
    (row,) = [row for row in TABLE if row.route.partition(" ")[2] == path and is_fast(row)]
    names = await scene.build(registry.api)
    await check(registry, row, names, prefix="/api/", care=True)
    registry.fast.clear()
    await check(registry, row, names, prefix="/api/", care=False)
    assert (path, OWNER.name, True) in registry.fast
    assert not [note for note in registry.fast if note[1] == STRANGER.name and note[2]]
    if row.wanted is P.EDIT:
        assert not [note for note in registry.fast if note[1] == READER.name and note[2]]


@pytest.mark.asyncio(loop_scope="module")
async def test_every_route_has_a_row(registry: Registry) -> None:
    """What the application can be asked stands in the table, or among what is public."""
    rows = {row.route for row in (*TABLE, *LAST, *OF_ADMINS)} | PUBLIC.keys() | FOR_KNOWN.keys()
    served, mounts = set(), set()
    for route in registry.api.app.routes:
        if isinstance(route, HTTPRoute):
            served |= {f"{method} {route.path_format}" for method in route.methods - {"OPTIONS", "HEAD"}}
        elif isinstance(route, ASGIRoute) and route.route_handler.is_mount:
            mounts |= {f"{method} {route.path_format.replace('/ajax-api/', '/api/')}/" for method in MOUNTS}
        else:
            served.add(f"POST {route.path_format}")
    assert sorted(served - rows) == []
    below = {row for row in rows - served if any(row.startswith(mount) for mount in mounts)}
    assert sorted(rows - served - below) == []
    assert all(any(row.startswith(mount) for row in below) for mount in mounts)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", [row for row in TABLE if row.route.startswith("GET ")], ids=_id)
async def test_a_head_tells_a_stranger_nothing(registry: Registry, row: Asked) -> None:
    """A HEAD of what they may not see has the status of one of what is not there."""
    names = registry.names
    asked = replace_method(row, "HEAD")
    await registry.prepare(row, names)
    there = await registry.ask(asked, names, STRANGER.name)
    gone = await registry.ask(asked, absent(names), STRANGER.name)
    assert there.status_code == gone.status_code


def replace_method(row: Asked, method: str) -> Asked:
    """The row with another method."""
    return row._replace(route=f"{method} {row.route.partition(' ')[2]}")
