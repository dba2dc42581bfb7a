"""A connection to SQLite for an asyncio engine: a brief statement runs where it stands, any other in a thread.

A statement takes some 10 us, and to have a thread run it costs ten times that, most of it in a fight for the
interpreter's lock. What is brief is not guessed:

- A read that has worked for `BUDGET_S` on the event loop is interrupted and done again in a thread, and the next of
  that text go there at once, until enough of them were brief.
- A write is never interrupted. It runs in a thread first, and on the loop when it was brief there; with many rows or
  much text it stays in the thread.
- Who finds the database locked by another process waits for it in a thread.

A thread has the connection until it is done: the statement of a caller who is cancelled is interrupted.
"""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from itertools import islice
from math import inf
from time import perf_counter, thread_time
from typing import Any, Self, TypeVar

from sqlalchemy.util.concurrency import await_, in_greenlet

from tiltyard_registry.store.sql.turns import LimitedTurn

T = TypeVar("T")

BUSY_TIMEOUT_MS = 30_000
"""How long a statement waits for another process that has the database locked."""

BUDGET_S = 0.002
"""How long a statement may work on the event loop."""

TURN_S = 0.005
"""How long statements of a connection may follow one another on the event loop."""

_STEPS = 2_000  # Of SQLite's machine between two looks at the clock: some 50 us.
_MOST_ROWS = 16
_MOST_CHARS = 16 * 1024
_MOST_TEXTS = 4_096
_RUNS_AFTER_LONG = 16
_ASK_AGAIN_S = 0.05
_WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|CREATE|DROP|ALTER)\b", re.IGNORECASE)

Work = Callable[[], T]


class _Known:
    """What was learned of statements, by their text and the magnitude of what they bring.

    It is how many brief runs in a thread are still to be seen before one runs on the loop: `unseen` of a new one.
    """

    def __init__(self, unseen: int) -> None:
        self._unseen = unseen
        self._left: dict[tuple[str, int], int] = {}

    def is_brief(self, key: tuple[str, int]) -> bool:
        return not self._left.get(key, self._unseen)

    def learn(self, key: tuple[str, int], *, is_brief: bool) -> None:
        left = self._left.get(key, self._unseen)
        if is_brief and not left:
            return
        if len(self._left) >= _MOST_TEXTS:
            self._left.clear()
        self._left[key] = left - 1 if is_brief else _RUNS_AFTER_LONG


_reads, _writes = _Known(0), _Known(1)


@lru_cache(_MOST_TEXTS)
def _is_read(sql: str) -> bool:
    return sql.lstrip()[:4].upper() in ("SELE", "WITH") and not _WRITES.search(sql)


def _chars(parameters: Iterable[Any] | Mapping[str, Any]) -> int:
    values = parameters.values() if isinstance(parameters, Mapping) else parameters
    return sum(len(value) for value in values if isinstance(value, str | bytes))


class NotAtOnce(Exception):
    """This is not for the event loop: a thread can do it."""


class InlineConnection(sqlite3.Connection):
    """A connection that decides where each statement runs. Outside of SQLAlchemy's greenlets it is an ordinary one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._until = inf
        self._turn_began_s: float | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._is_long = False  # Whether a thread had part in the transaction.
        self.turns: LimitedTurn | None = None
        """Whose turn it is to have a thread, among the connections that share this; None if they need not wait."""

        self.set_progress_handler(self._is_over, _STEPS)

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or _Cursor)

    def run(self, sql: str, size: int, work: Work[T]) -> T:
        """What `work` gives, which executes `sql` on this connection; `size` is of what the statement brings."""
        if not in_greenlet():
            return work()
        key = (sql, size.bit_length())
        given = self._read(key, work) if _is_read(sql) else self._write(key, work)
        # SQLAlchemy holds a driver that never waits to be a mistake.
        await_(asyncio.sleep(0) if self._has_had_its_turn() else _nothing())
        return given

    def _has_had_its_turn(self) -> bool:
        """Whether statements have followed one another for so long that others on the event loop shall have a turn."""
        if self._turn_began_s is None:
            self._turn_began_s = perf_counter()
            asyncio.get_running_loop().call_soon(self._end_turn)
            return False
        return perf_counter() - self._turn_began_s > TURN_S

    def _end_turn(self) -> None:
        self._turn_began_s = None

    def _read(self, key: tuple[str, int], work: Work[T]) -> T:
        if _reads.is_brief(key):
            self._until = perf_counter() + BUDGET_S
            try:
                return work()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    _reads.learn(key, is_brief=False)
                elif not _is_locked(error):
                    raise
            finally:
                self._until = inf
        return self._in_thread(key, _reads, work)

    def _write(self, key: tuple[str, int], work: Work[T]) -> T:
        if _writes.is_brief(key) and key[1] <= _MOST_CHARS.bit_length():
            begun = thread_time()
            try:
                return work()
            except sqlite3.OperationalError as error:
                if not _is_locked(error):
                    raise
            finally:
                if thread_time() - begun > BUDGET_S:
                    _writes.learn(key, is_brief=False)
        return self._in_thread(key, _writes, work)

    def _in_thread(self, key: tuple[str, int], known: _Known, work: Work[T]) -> T:
        self._is_long = True
        given, took_s = await_(self.aside(partial(_timed, work)))
        known.learn(key, is_brief=took_s < BUDGET_S)
        return given

    def at_once(self, work: Callable[["InlineConnection"], T], *, is_read: bool) -> T:
        """What `work` does on this connection, on the event loop.

        Raises:
            NotAtOnce: nothing was done. It reads for longer than `BUDGET_S`, or another process holds the database.
        """
        self._until = perf_counter() + BUDGET_S if is_read else inf
        try:
            return work(self)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT or _is_locked(error):
                raise NotAtOnce from error
            raise
        finally:
            self._until = inf

    async def read(self, work: Callable[["InlineConnection"], T], *, is_brief: bool) -> T:
        """What `work` reads on this connection: on the event loop if it is brief, else in the connection's thread."""
        if is_brief:
            with suppress(NotAtOnce):
                return self.at_once(work, is_read=True)
        return await self.aside(partial(work, self))

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """One transaction: committed on leaving, rolled back on an exception."""
        self.execute(begin)
        try:
            yield
        except BaseException:
            super().rollback()
            raise
        super().commit()

    async def aside(self, work: Work[T], *, may_be_interrupted: bool = True) -> T:
        """What `work` gives in the connection's thread, where it waits for locks."""
        if self.turns is None:
            return await self._in_own_thread(work, may_be_interrupted)
        async with self.turns.taken():
            return await self._in_own_thread(work, may_be_interrupted)

    async def _in_own_thread(self, work: Work[T], may_be_interrupted: bool) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._patiently, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                if may_be_interrupted:
                    # Again and again: an interruption before the statement begins is none.
                    self.interrupt()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future], timeout=_ASK_AGAIN_S)
            future.exception()
            raise

    def _patiently(self, work: Work[T]) -> T:
        # A look at the clock takes the interpreter's lock, and nobody waits for this thread.
        self.set_progress_handler(None, 0)
        self._wait_for_locks(BUSY_TIMEOUT_MS)
        try:
            return work()
        finally:
            self._wait_for_locks(0)
            self.set_progress_handler(self._is_over, _STEPS)

    def _wait_for_locks(self, timeout_ms: int) -> None:
        sqlite3.Cursor(self).execute(f"PRAGMA busy_timeout={timeout_ms}").close()

    def _is_over(self) -> bool:
        return perf_counter() > self._until

    def commit(self) -> None:
        """Commits, in the thread if it had part in the transaction: there may be much to write."""
        is_long, self._is_long = self._is_long, False
        if is_long and self.in_transaction and in_greenlet():
            await_(self.aside(super().commit, may_be_interrupted=False))
        else:
            super().commit()

    def rollback(self) -> None:
        """Takes the transaction back, if there is one."""
        self._is_long = False
        super().rollback()

    def close(self) -> None:
        """Ends the connection and its thread."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
        super().close()


class _Cursor(sqlite3.Cursor):
    """A statement whose rows are all read where it ran."""

    connection: InlineConnection
    _rows: Iterator[Any] = iter(())

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        self._rows = iter(self.connection.run(sql, _chars(parameters), partial(_rows_of, self, sql, parameters)))
        return self

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        given = list(parameters)
        size = sum(map(_chars, given)) if len(given) <= _MOST_ROWS else _MOST_CHARS * 2
        self.connection.run(sql, size, partial(sqlite3.Cursor.executemany, self, sql, given))
        return self

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return list(islice(self._rows, self.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    async def _async_soft_close(self) -> None:
        """What SQLAlchemy awaits of a cursor whose rows it has; the statement has ended where it ran."""


def _rows_of(cursor: sqlite3.Cursor, sql: str, parameters: Any) -> list[Any]:
    sqlite3.Cursor.execute(cursor, sql, parameters)
    return sqlite3.Cursor.fetchall(cursor)


def _timed(work: Work[T]) -> tuple[T, float]:
    begun = thread_time()
    return work(), thread_time() - begun


def _is_locked(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY)


async def _nothing() -> None:
    return None
