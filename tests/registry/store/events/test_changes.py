"""Waiting for a change: woken by every commit, of this process and of others, and by nothing else."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest_asyncio
from sqlalchemy import text

from tests.registry.store_house import House
from tiltyard_registry.store.events.changes import Changes
from tiltyard_registry.store.models import aliases, registered_models
from tiltyard_registry.store.namespaces import catalogs
from tiltyard_registry.store.runs import runs

_OTHER_PROCESS = """
import asyncio, sys
from tests.registry.store_house import House

async def main(url, root):
    house = House(url, root)
    await house.ensure("warm")
    print("ready", flush=True)
    sys.stdin.readline()
    await house.ensure("m")
    await house.database.close()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


LONG_S = 600.0
"""A wait that no test sees the end of: who goes on was woken."""


@pytest_asyncio.fixture
async def other(house: House) -> AsyncIterator[House]:
    """The same registry with connections of its own: what it commits is heard of through the database."""
    beside = House(house.url, house.artifacts.root)
    yield beside
    await beside.database.close()


@pytest_asyncio.fixture
async def changes(house: House) -> AsyncIterator[Changes]:
    listening = Changes(house.database)
    await listening.start()
    yield listening
    await listening.stop()


async def _quiet(changes: Changes, other: House) -> int:
    """The count, once every notice of what was committed so far has come.

    Notices come in the order of the commits, and each name here is new: the first wait may end with a late notice
    that is of no model, as that of the start is; the second ends with its own, behind all the others.
    """
    for _ in range(2):
        name, seen = f"last-{uuid4().hex}", changes.seen
        await other.ensure(name)
        await changes.wait(seen, LONG_S, {name})
    return changes.seen


async def test_a_commit_wakes_at_once(house: House, changes: Changes, other: House) -> None:
    """Waiters of the same process wake with the commit, all of them."""
    seen = await _quiet(changes, other)
    waiters = [asyncio.create_task(changes.wait(seen, LONG_S)) for _ in range(20)]
    await asyncio.sleep(0)
    await house.ensure("m")
    assert all(count > seen for count in await asyncio.gather(*waiters))


async def test_a_wait_ends_when_its_time_is_up(changes: Changes, other: House) -> None:
    """Without a change the count stays, and the wait lasts what was asked."""
    seen = await _quiet(changes, other)
    started = time.monotonic()
    assert await changes.wait(seen, 0.2) == seen
    assert time.monotonic() - started > 0.1
    assert await changes.wait(seen, 0) == seen
    assert await changes.wait(seen - 1, LONG_S) == seen


async def test_a_commit_of_another_process_wakes(house: House, changes: Changes, other: House) -> None:
    """Two processes over one database: what one commits, the other's waiters hear of."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _OTHER_PROCESS, house.url, house.artifacts.root),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()
    seen = await _quiet(changes, other)
    process.stdin.write(b"go\n")
    assert await changes.wait(seen, LONG_S) > seen
    await process.communicate()
    assert (await house.see(registered_models.get_registered_model, "m"))["name"] == "m"


async def test_nothing_is_missed_between_reading_and_waiting(house: House, changes: Changes) -> None:
    """A change that comes after the count was taken ends the wait at once, however late the wait begins."""
    seen = changes.seen
    await house.ensure("m")
    assert await changes.wait(seen, LONG_S) > seen


async def test_tracking_wakes_nobody_of_this_process(house: House) -> None:
    """Runs and metrics are no registry state: their commits call no listener."""
    heard: list[set[str] | None] = []
    house.database.listeners.append(heard.append)
    await house.do(runs.create_run, "0")
    assert heard == []
    await house.ensure("m")
    assert heard == [{"m"}]


async def test_a_lost_connection_wakes_and_is_replaced(postgres_url: str) -> None:
    """When the server ends the listening connection, waiters look again, and later changes are heard of."""
    house = House(postgres_url, "memory://unused")
    changes = Changes(house.database)
    await changes.start()
    other = House(postgres_url, "memory://unused")
    seen = await _quiet(changes, other)
    async with house.database.read() as session:
        await session.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
    assert await changes.wait(seen, LONG_S) > seen
    seen = await _quiet(changes, other)
    async with other.database.write() as session:
        await session.execute(text("NOTIFY tiltyard_registry_changes"))
    assert await changes.wait(seen, LONG_S) > seen
    await other.database.close()
    await changes.stop()
    await house.database.close()


async def test_a_change_wakes_only_those_whom_it_concerns(house: House, changes: Changes, other: House) -> None:
    """By the names that the model had and has, whoever commits; what is of no model wakes everyone."""
    await house.external("m")
    for committing in (house, other):
        for change, woken in (
            (lambda to: to.do(aliases.set_alias, "m", f"a{id(to)}", 1), {"m"}),
            (lambda to: to.ensure("new"), {"new"}),
            (lambda to: to.do(registered_models.rename_registered_model, "new", "newer"), {"new", "newer"}),
            (lambda to: to.do(registered_models.delete_registered_model, "newer"), {"newer"}),
            (lambda to: to.do(catalogs.create_catalog, f"c{id(to)}"), {"m", "new", "newer", "quiet"}),
        ):
            seen = await _quiet(changes, other)
            waiting = {
                name: asyncio.create_task(changes.wait(seen, LONG_S, {name, "beside"}))
                for name in ("m", "new", "newer", "quiet")
            }
            await asyncio.sleep(0)
            await change(committing)
            await asyncio.gather(*(waiting[name] for name in woken))
            # What could wake the others was heard of by now.
            assert {name for name, task in waiting.items() if task.done()} == woken
            for task in waiting.values():
                task.cancel()
            await asyncio.gather(*waiting.values(), return_exceptions=True)
    assert not changes.waiters


async def test_what_is_forgotten_is_taken_for_changed(house: House) -> None:
    """However many models change, only the last are remembered, and no waiter is left asleep."""
    changes = Changes(house.database, most_remembered=10)
    seen = changes.seen
    for number in range(50):
        changes.notify({f"m{number}"})
    for name in ("m3", "m49", "never changed"):
        assert await changes.wait(seen, LONG_S, {name}) == 50
    # Forgotten is what changed before the last ten, and nothing since.
    assert changes.changed_since(39, {"never changed"}) and not changes.changed_since(40, {"never changed"})
    assert await changes.wait(50, 0.01, {"m3"}) == 50
