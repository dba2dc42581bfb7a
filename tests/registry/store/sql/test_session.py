"""Sessions: all or nothing, and a database that is away is said to be away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import insert, literal, select, text
from sqlalchemy.exc import DBAPIError

from tests.fixtures.processes import unused_port
from tests.fixtures.waiting import until
from tiltyard.errors import NothingDone, TemporarilyUnavailable
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import now_ms
from tiltyard_registry.tables.namespaces import catalogs


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Database]:
    opened = Database(postgres_url)
    yield opened
    await opened.close()


def _catalog(name: str):
    return insert(catalogs).values(uuid=name, name=name, created_at=now_ms(), updated_at=now_ms())


async def _names(database: Database) -> set[str]:
    async with database.read() as session:
        return {row["name"] for row in await session.all(select(catalogs))}


async def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    """An exception takes every statement back and calls nothing that waits for the commit."""
    called: list[str] = []

    async def note(what: str) -> None:
        called.append(what)

    with pytest.raises(ZeroDivisionError):
        async with database.write() as session:
            session.before_commit.append(lambda: note("before"))
            session.after_commit.append(lambda: note("after"))
            await session.execute(_catalog("a"))
            raise ZeroDivisionError
    assert (await _names(database), called) == ({"main", "workspace"}, [])
    async with database.write() as session:
        session.before_commit.append(lambda: note("before"))
        session.after_commit.append(lambda: note("after"))
        await session.execute(_catalog("a"))
        assert called == []
    assert (await _names(database), called) == ({"main", "workspace", "a"}, ["before", "after"])


async def test_a_cancelled_writer_leaves_nothing_and_lets_the_next_one_in(database: Database) -> None:
    """Cancelling a request in the middle of its transaction rolls it back and frees its connection."""
    started = asyncio.Event()

    async def write() -> None:
        async with database.write() as session:
            await session.execute(_catalog("a"))
            started.set()
            await asyncio.Event().wait()

    writer = asyncio.create_task(write())
    await started.wait()
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    async with database.write() as session:
        await session.execute(_catalog("b"))
    assert await _names(database) == {"main", "workspace", "b"}
    assert database.connections_in_use == 0


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    """No connection means 503 with a hint when to try again, and a failed ping."""
    database = Database(f"postgresql+asyncpg://postgres@127.0.0.1:{unused_port()}/none")
    for session in (database.read(), database.write()):
        with pytest.raises(TemporarilyUnavailable) as caught:
            async with session as opened:
                await opened.scalar(text("SELECT 1"))
        assert caught.value.retry_after_s
        assert "127.0.0.1" not in caught.value.message
    assert not await database.ping()
    await database.close()


async def test_lost_connections_are_replaced(postgres: Database) -> None:
    """When the server ends every connection, requests fail as unavailable at most once each, then go on."""
    for _ in range(3):
        assert await _names(postgres)
    killer = Database(str(postgres.url))
    async with killer.read() as session:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        await session.execute(text(f"{ended} AND pid <> pg_backend_pid()"))
    await killer.close()
    outcomes = []
    for _ in range(4):
        try:
            outcomes.append(bool(await _names(postgres)))
        except TemporarilyUnavailable:
            outcomes.append(False)
    assert outcomes[1:] == [True, True, True]


async def test_a_deadlock_is_a_reason_to_try_again(postgres: Database) -> None:
    """Of two transactions that wait for each other one is told that the database is busy; the other commits."""
    async with postgres.write() as session:
        await session.execute(_catalog("a"))
        await session.execute(_catalog("b"))
        await session.execute(text(f"ALTER DATABASE {postgres.url.database} SET deadlock_timeout = '50ms'"))
    await postgres.close()
    meeting = asyncio.Barrier(2)

    async def touch(first: str, second: str) -> None:
        async with postgres.write() as session:
            for name in (first, second):
                await session.execute(select(catalogs).where(catalogs.c.name == name).with_for_update())
                if name == first:
                    await meeting.wait()

    results = await asyncio.gather(touch("a", "b"), touch("b", "a"), return_exceptions=True)
    assert sorted(type(result) for result in results if result) == [NothingDone]
    assert results.count(None) == 1


async def test_a_value_that_the_driver_refuses_is_not_an_outage(postgres: Database) -> None:
    """Our own mistakes stay visible as errors and are not retried by clients for minutes."""
    with pytest.raises(DBAPIError):
        async with postgres.read() as session:
            await session.scalar(select(literal(2**70, catalogs.c.id.type)))


async def test_a_full_pool_is_unavailable(postgres_url: str) -> None:
    """Who gets no connection in time is told so, and the others are not disturbed."""
    database = Database(postgres_url, max_connections=2, pool_wait_s=0.1)
    async with database.write(), database.read() as session:
        with pytest.raises(TemporarilyUnavailable):
            async with database.write():
                pass
        assert await session.scalar(text("SELECT 1")) == 1
        assert database.connections_in_use == 2
    await database.close()


async def test_a_connection_that_only_lies_at_hand_keeps_nobody_waiting(postgres_url: str) -> None:
    """After statements of the driver's own every connection is there for sessions, and none counts as in use."""
    database = Database(postgres_url, max_connections=2, pool_wait_s=0.1)
    for _ in range(2):
        async with database.driver() as one, database.driver() as other:
            assert await one.fetchval("SELECT pg_backend_pid()") != await other.fetchval("SELECT pg_backend_pid()")
        assert database.connections_in_use == 0
        async with database.read(), database.write() as session:
            assert await session.scalar(text("SELECT 1")) == 1
            assert database.connections_in_use == 2
    await database.close()


async def test_a_session_that_waits_gets_the_connection_that_a_statement_leaves(postgres_url: str) -> None:
    """The last connection of a full pool goes to who waits for it."""
    database = Database(postgres_url, max_connections=1)
    async with database.driver() as driver:
        waiting = asyncio.create_task(_names(database))
        await driver.fetchval("SELECT 1")
        assert not waiting.done()
    assert await waiting == {"main", "workspace"}
    await database.close()


async def test_a_connection_at_hand_that_was_ended_is_not_used_again(postgres: Database) -> None:
    """A server that ends its connections costs the next statement nothing."""
    async with postgres.driver() as driver:
        pid = await driver.fetchval("SELECT pg_backend_pid()")
    killer = Database(str(postgres.url))
    async with killer.driver() as other:
        await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await killer.close()
    await until(driver.is_closed)
    async with postgres.driver() as again:
        assert await again.fetchval("SELECT pg_backend_pid()") != pid
