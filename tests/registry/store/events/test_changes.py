"""Waiting for a change: woken by every commit, of this process and of others, and by nothing else."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.registry.store_house import House
from tiltyard_registry.store.events.changes import Changes
from tiltyard_registry.store.models import aliases, registered_models
from tiltyard_registry.store.namespaces import catalogs
from tiltyard_registry.store.runs import runs
from tiltyard_registry.store.sql.database import Database

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


@pytest_asyncio.fixture
async def changes(house: House) -> AsyncIterator[Changes]:
    listening = Changes(house.database)
    await listening.start()
    yield listening
    await listening.stop()


async def _quiet(changes: Changes) -> int:
    """The count, once the notices of the start have come: one always does, on a busy machine after a while."""
    seen = await changes.wait(0, 60)
    while (now := await changes.wait(seen, 0.5)) != seen:
        seen = now
    return seen


async def test_a_commit_wakes_at_once(house: House, changes: Changes) -> None:
    """Waiters of the same process wake with the commit, all of them."""
    seen = await _quiet(changes)
    waiters = [asyncio.create_task(changes.wait(seen, 10)) for _ in range(20)]
    await asyncio.sleep(0.05)
    started = time.monotonic()
    await house.ensure("m")
    assert all(count > seen for count in await asyncio.gather(*waiters))
    assert time.monotonic() - started < 2


async def test_a_wait_ends_when_its_time_is_up(changes: Changes) -> None:
    """Without a change the count stays, and the wait lasts what was asked."""
    seen = await _quiet(changes)
    started = time.monotonic()
    assert await changes.wait(seen, 0.2) == seen
    assert 0.2 <= time.monotonic() - started < 2
    assert await changes.wait(seen, 0) == seen
    assert await changes.wait(seen - 1, 10) == seen


async def test_a_commit_of_another_process_wakes(house: House, changes: Changes) -> None:
    """Two processes over one database: what one commits, the other's waiters hear of within a moment."""
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _OTHER_PROCESS, house.url, house.artifacts.root),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    await other.stdout.readline()
    seen = await _quiet(changes)
    other.stdin.write(b"go\n")
    started = time.monotonic()
    assert await changes.wait(seen, 10) > seen
    assert time.monotonic() - started < 5
    await other.communicate()
    assert (await house.see(registered_models.get_registered_model, "m"))["name"] == "m"


async def test_nothing_is_missed_between_reading_and_waiting(house: House, changes: Changes) -> None:
    """A change that comes after the count was taken ends the wait at once, however late the wait begins."""
    seen = changes.seen
    await house.ensure("m")
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(changes.wait(seen, 10), 1) > seen


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
    seen = await _quiet(changes)
    async with house.database.read() as session:
        await session.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
    assert await changes.wait(seen, 10) > seen
    seen = await _quiet(changes)
    other = Database(postgres_url)
    async with other.write() as session:
        await session.execute(text("NOTIFY tiltyard_registry_changes"))
    assert await changes.wait(seen, 10) > seen
    await other.close()
    await changes.stop()
    await house.database.close()


async def test_a_change_wakes_only_those_whom_it_concerns(house: House, changes: Changes) -> None:
    """By the names that the model had and has, whoever commits; what is of no model wakes everyone."""
    await house.external("m")
    await _quiet(changes)
    other = House(house.url, house.artifacts.root)
    for committing in (house, other):
        for change, woken in (
            (lambda to: to.do(aliases.set_alias, "m", f"a{id(to)}", 1), {"m"}),
            (lambda to: to.ensure("new"), {"new"}),
            (lambda to: to.do(registered_models.rename_registered_model, "new", "newer"), {"new", "newer"}),
            (lambda to: to.do(registered_models.delete_registered_model, "newer"), {"newer"}),
            (lambda to: to.do(catalogs.create_catalog, f"c{id(to)}"), {"m", "new", "newer", "quiet"}),
        ):
            seen = await _quiet(changes)
            waiting = {
                name: asyncio.create_task(changes.wait(seen, 60, {name, "beside"}))
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
    assert changes._waiters == {}
    await other.database.close()


async def test_what_is_forgotten_is_taken_for_changed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many models change, memory is bounded and no waiter is left asleep."""
    monkeypatch.setattr("tiltyard_registry.store.events.changes._MOST_REMEMBERED", 10)
    changes = Changes(house.database)
    seen = changes.seen
    for number in range(50):
        changes.notify({f"m{number}"})
    assert len(changes._changed) == 10
    async with asyncio.timeout(10):
        assert await changes.wait(seen, 60, {"m3"}) == await changes.wait(seen, 60, {"m49"}) == 50
    assert await changes.wait(50, 0.01, {"m3"}) == 50
