"""SQLite: what is brief runs on the event loop, what is not in a thread, and a checkpoint never in a commit."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from tests.fixtures.waiting import PATIENCE_S, until
from tiltyard_registry.store.sql.checkpoints import Checkpoints
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.store.sql.sqlite import sqlite_engine
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.store.sql.turns import Turn

COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most) SELECT {what} FROM n"
TOUCH = "UPDATE experiments SET last_update_time = last_update_time + 1 + 0 * {what} WHERE experiment_id = 0"
TIME = text("SELECT last_update_time FROM experiments WHERE experiment_id = 0")


class Gate:
    """What a statement stops at until it is opened, and whether one is there."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, value: int) -> int:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)
        return value


@pytest_asyncio.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    await opened.close()


async def _teach(session: Session, **functions: Callable[..., Any]) -> None:
    def create(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        for name, function in functions.items():
            driver.create_function(name, 1, function)

    await session.run_sync(create)


def _is_on_the_loop(_: object) -> bool:
    return threading.current_thread() is threading.main_thread()


async def test_the_loop_goes_on_while_a_read_takes_long(database: Database) -> None:
    """A read that passes its budget is done again in a thread, and its answer is right."""
    gate = Gate()
    async with database.read() as session:
        await _teach(session, gate=gate)
        read = asyncio.create_task(
            session.all(text(COUNT.format(what="count(*) AS rows, gate(max(i)) AS last")), {"most": 300_000})
        )
        await until(gate.reached.is_set)
        gate.opened.set()
        assert [dict(row) for row in await read] == [{"rows": 300_000, "last": 300_000}]


async def test_a_read_that_took_long_comes_back_to_the_loop(database: Database) -> None:
    """One text may ask for little or for much: it is where it belongs after some runs."""
    count = text(COUNT.format(what="on_the_loop(max(i))"))
    async with database.read() as session:
        await _teach(session, on_the_loop=_is_on_the_loop)
        assert not await session.scalar(count, {"most": 300_000})
        await until(lambda: session.scalar(count, {"most": 3}))


async def test_a_write_that_was_brief_runs_on_the_loop(database: Database) -> None:
    """The first of a text runs in a thread, the next where they stand, and one that brings much in a thread again."""
    touch = text(TOUCH.format(what="length(:brought)") + " AND note(on_the_loop(0))")
    seen: list[int] = []

    async def on_the_loop(brought: str) -> int:
        async with database.write() as session:
            await _teach(session, on_the_loop=_is_on_the_loop, note=lambda value: seen.append(value) or True)
            await session.execute(touch, {"brought": brought})
        return seen[-1]

    assert not await on_the_loop("")
    await until(lambda: on_the_loop(""))
    assert not await on_the_loop("x" * 100_000)


async def test_the_loop_goes_on_while_a_write_is_new(database: Database) -> None:
    """Nobody knows what a write takes that was never seen: the loop does not wait for it."""
    gate = Gate()

    async def write() -> None:
        async with database.write() as session:
            await _teach(session, gate=gate)
            await session.execute(text(TOUCH.format(what="gate(2)")))

    writing = asyncio.create_task(write())
    await until(gate.reached.is_set)
    async with database.read() as session:
        before = await session.scalar(TIME)
    gate.opened.set()
    await writing
    async with database.read() as session:
        assert await session.scalar(TIME) == before + 1


async def test_who_comes_while_another_writes_in_a_thread_still_writes_on_the_loop(database: Database) -> None:
    """They wait for each other on the loop, in order of arrival; one wait in a thread does not lead to the next."""
    gate, order = Gate(), list[int]()

    async def write_in_a_thread() -> None:
        async with database.write() as session:
            await _teach(session, gate=gate)
            await session.execute(text(TOUCH.format(what="gate(4)")))

    async def write(number: int) -> bool:
        def work(connection: InlineConnection) -> bool:
            with connection.transaction():
                connection.execute("UPDATE experiments SET name = ? WHERE experiment_id = 0", [f"of {number}"])
            order.append(number)
            return _is_on_the_loop(None)

        return await database.sqlite(work, is_read=False)

    first = asyncio.create_task(write_in_a_thread())
    await until(gate.reached.is_set)
    others = [asyncio.create_task(write(number)) for number in range(20)]
    for _ in range(20):
        async with database.read() as session:
            await session.scalar(TIME)
    assert not order
    gate.opened.set()
    assert all(await asyncio.gather(*others))
    await first
    assert order == list(range(20))


async def test_who_finds_the_database_locked_waits_beside_the_loop(database: Database, sqlite_url: str) -> None:
    """Another process writes: reads go on, the write comes when it is done, and both are there."""
    touch = text(TOUCH.format(what="1"))

    async def write() -> None:
        async with database.write() as session:
            await session.execute(touch)

    await write()
    await write()
    async with database.read() as session:
        before = await session.scalar(TIME)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute(touch.text)
    writing = asyncio.create_task(write())
    for _ in range(20):
        async with database.read() as session:
            assert await session.scalar(TIME) == before
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    await writing
    async with database.read() as session:
        assert await session.scalar(TIME) == before + 2


async def test_a_cancelled_read_gives_its_connection_back(database: Database) -> None:
    """The thread's statement is interrupted, so any number of callers may leave before they have their answer."""
    endless = COUNT.format(what="max(i)").replace("i < :most", "i < :most AND (i < 100000 OR reached(1))")

    async def read(reached: threading.Event) -> None:
        async with database.read() as session:
            await _teach(session, reached=lambda value: reached.set() or value)
            await session.scalar(text(endless), {"most": 10**15})

    for _ in range(6):
        reached = threading.Event()
        reading = asyncio.create_task(read(reached))
        await until(reached.is_set)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert database.connections_in_use == 0
    async with database.read() as session:
        assert await session.scalar(text("SELECT 7")) == 7


async def test_a_cancelled_write_leaves_nothing(database: Database) -> None:
    """What the transaction did before is taken back, and the next writer finds the database free."""
    gate = Gate()

    async def write() -> None:
        async with database.write() as session:
            await _teach(session, gate=gate)
            await session.execute(text("UPDATE experiments SET name = 'changed' WHERE experiment_id = 0"))
            await session.execute(text(TOUCH.format(what="gate(3)")))

    writing = asyncio.create_task(write())
    await until(gate.reached.is_set)
    writing.cancel()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    async with database.write() as session:
        assert await session.scalar(text("SELECT name FROM experiments WHERE experiment_id = 0")) == "Default"


async def test_many_brief_statements_leave_others_their_turn(database: Database) -> None:
    """However many statements follow one another, what else is to be done comes in between."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    async with database.read() as session:
        for _ in range(3):
            await session.scalar(TIME)
        before = turns
        while turns < before + 10:
            await session.scalar(TIME)
    other.cancel()


async def test_errors_are_those_of_the_driver(database: Database) -> None:
    """A refused row is an integrity error wherever it ran, and takes the transaction back."""
    for _ in range(3):
        with pytest.raises(IntegrityError):
            async with database.write() as session:
                await session.execute(text(TOUCH.format(what="1")))
                await session.execute(text("UPDATE experiments SET name = NULL WHERE experiment_id = 0"))


async def test_rows_are_streamed_in_parts(database: Database) -> None:
    """A stream gives every row in order, whatever its parts are."""
    engine = sqlite_engine(database.url)
    numbers = text(COUNT.format(what="i"))
    async with engine.connect() as connection, connection.stream(numbers, {"most": 10_000}) as result:
        parts = [[row.i for row in part] async for part in result.partitions(3_000)]
    await engine.dispose()
    assert [len(part) for part in parts] == [3_000, 3_000, 3_000, 1_000]
    assert [value for part in parts for value in part] == list(range(1, 10_001))


class _CountedTurn(Turn):
    """One that counts how often it was left."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0

    def leave(self) -> None:
        super().leave()
        self.left += 1


def _log(path: Path) -> Path:
    return Path(f"{path}-wal")


async def test_the_log_is_bounded_under_writers_that_never_pause(tmp_path: Path) -> None:
    """It is begun anew while they write, and cut when they pause; all rows are there."""
    path = tmp_path / "busy.db"
    writer = sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE rows (filled)"):
        writer.execute(statement)
    checkpoints = Checkpoints(str(path), Turn(), every_s=0.01, most_frames=50)
    salts, written = set(), 0
    while len(salts) < 4:
        writer.execute("INSERT INTO rows VALUES (zeroblob(50000))")
        written += 1
        checkpoints.committed()
        await asyncio.sleep(0)
        with _log(path).open("rb") as log:
            # Of the log's head: other salts are another log.
            salts.add(log.read(24)[16:24])
    await until(lambda: _log(path).stat().st_size <= 1024 * 1024)
    await checkpoints.close()
    assert writer.execute("SELECT count(*) FROM rows").fetchone() == (written,)
    writer.close()


async def test_a_long_read_holds_up_no_writer_of_a_short_log(tmp_path: Path) -> None:
    """Its checkpoint waits for no reader in the writers' turn: they have it while somebody still reads."""
    path = tmp_path / "read.db"
    writer, reader = (sqlite3.connect(path, isolation_level=None) for _ in range(2))
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE rows (filled)"):
        writer.execute(statement)
    turn = _CountedTurn()
    checkpoints = Checkpoints(str(path), turn, every_s=0.01, wait_s=10 * PATIENCE_S)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM rows").fetchone()
    # All of the log is moved beside the reader, who reads it nevertheless.
    checkpoints.committed()
    await until(lambda: turn.left == 1)
    await checkpoints.close()
    reader.close()
    writer.close()


async def test_a_checkpoint_that_fails_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost by it: the next one, after the next commit, moves what it left."""
    path = tmp_path / "folder" / "late.db"
    checkpoints = Checkpoints(str(path), Turn(), every_s=0.01)
    checkpoints.committed()
    await until(lambda: "a checkpoint of the database failed" in caplog.text)
    path.parent.mkdir()
    writer = sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE rows (filled)"):
        writer.execute(statement)
    writer.execute("INSERT INTO rows VALUES (zeroblob(50000))")

    def is_moved() -> bool:
        checkpoints.committed()
        return path.stat().st_size > 50_000

    await until(is_moved)
    await checkpoints.close()
    writer.close()
