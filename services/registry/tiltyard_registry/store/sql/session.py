"""Sessions: a read sees the database as it is, a write is one transaction.

    async with database.read() as session: ...
    async with database.write() as session: ...     # commits on leaving, rolls back on an exception

A door takes a session and never opens another inside it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Executable, text
from sqlalchemy.engine import CursorResult, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tiltyard_registry.rules.limits import UNLIMITED, Quotas
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.engines import abandon
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection

Row = dict[str, Any]
"""A row on its way out: names as the wire has them, plus the lists that hang on it."""

Found = Mapping[Any, Any]
"""A row as a statement gave it, or as much of one as is needed."""

T = TypeVar("T")


def now_ms() -> int:
    """The wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Session:
    """One connection, for the length of one request.

    `before_commit` holds what shall run last in the transaction, `after_commit` what shall run once it is
    durable, and never when it is rolled back. `events` are the registry's changes so far, not yet written, and
    `concerned` the models that they are of, by name; None when they may concern any.
    """

    __slots__ = (
        "_limit_s",
        "after_commit",
        "before_commit",
        "concerned",
        "connection",
        "events",
        "is_sqlite",
        "quotas",
        "request_id",
    )

    def __init__(
        self,
        connection: AsyncConnection,
        *,
        request_id: str | None = None,
        quotas: Quotas = UNLIMITED,
        limit_s: float | None = None,
    ) -> None:
        self.connection = connection
        self._limit_s = limit_s
        self.quotas = quotas
        self.is_sqlite = connection.dialect.name == "sqlite"
        self.request_id = request_id
        self.before_commit: list[Callable[[], Awaitable[None]]] = []
        self.after_commit: list[Callable[[], Awaitable[None]]] = []
        self.events: list[dict[str, Any]] = []
        self.concerned: set[str] | None = None

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """The SQL that the connection speaks."""
        return "sqlite" if self.is_sqlite else "postgresql"

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """The buffered result of one statement.

        Raises:
            TemporarilyUnavailable: the database is away, or does not answer in time.
        """
        return await self._asked(self.connection.execute(statement, parameters))

    async def ask(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """What `work` asks of PostgreSQL's own connection; bounds and errors are those of `execute`."""
        return await self._asked(work(await self.driver()))

    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        """What a plain function asks of the connection; bounds and errors are those of `execute`."""
        return await self._asked(self.connection.run_sync(work))

    async def sqlite(self, work: Callable[[InlineConnection], T], *, is_brief: bool) -> T:
        """What `work` reads on the connection to SQLite: on the event loop if it is brief, else in a thread.

        All of it in one go, with what is made of the rows: for so many of them that each layer counts.
        """
        return await self._asked((await self.driver()).read(work, is_brief=is_brief))

    async def _asked(self, work: Awaitable[T]) -> T:
        try:
            if self._limit_s is None:
                return await work
            async with asyncio.timeout(self._limit_s):
                return await work
        except Exception as error:
            await abandon(self.connection, error)
            with unavailable_when_lost():
                raise

    async def one(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> RowMapping | None:
        """The first row as a mapping, or None."""
        return (await self.execute(statement, parameters)).mappings().first()

    async def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[RowMapping]:
        """Every row as a mapping."""
        return (await self.execute(statement, parameters)).mappings().all()

    async def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        return (await self.execute(statement, parameters)).scalar()

    async def driver(self) -> Any:
        """The database's own connection below the session's, for the few statements where each layer counts."""
        return (await self.connection.get_raw_connection()).driver_connection

    async def lock(self, scope: str) -> None:
        """Holds every other writer of `scope` off until this transaction ends.

        SQLite has one writer at a time already; PostgreSQL takes an advisory lock.
        """
        if not self.is_sqlite:
            await self.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:scope, 0))"), {"scope": scope})
