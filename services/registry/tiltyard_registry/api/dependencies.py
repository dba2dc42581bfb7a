"""What handlers ask for by name: `session`, `read_session`, `who`, `database`, `changes`, `artifacts`."""

from collections.abc import AsyncGenerator
from typing import Any

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from tiltyard.errors import TemporarilyUnavailable

from tiltyard_registry.auth.providers import principal_of
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store import migrations
from tiltyard_registry.store.changes import Changes
from tiltyard_registry.store.session import Database, Session

_SCHEMA_IS_OLD = "The registry's database does not have the schema this server expects. Run 'tiltyard migrate'."


class Schema:
    """Whether the database has the schema that this code expects; looked up until it has, then known."""

    def __init__(self) -> None:
        self._is_current = False

    async def check(self, database: Database) -> None:
        """Passes once the schema is there.

        Raises:
            TemporarilyUnavailable: it is older or newer, or the database does not answer.
        """
        if self._is_current:
            return
        async with database.read() as session:
            self._is_current = await migrations.is_current(session)
        if not self._is_current:
            raise TemporarilyUnavailable(_SCHEMA_IS_OLD, retry_after_s=5)


def who(request: Request[Any, Any, Any]) -> Principal:
    """The caller.

    Raises:
        Unauthenticated: no provider knows him.
    """
    return principal_of(request.scope)


async def session(
    request: Request[Any, Any, Any],
    who: NamedDependency[Principal],  # a stranger opens no transaction
) -> AsyncGenerator[Session]:
    """One transaction, committed before the answer is sent."""
    state = request.app.state
    await state.schema.check(state.database)
    async with state.database.write(request_id=request.scope["state"].get("request_id")) as opened:
        yield opened


async def read_session(
    request: Request[Any, Any, Any], who: NamedDependency[Principal]
) -> AsyncGenerator[Session]:
    """A session for reads only."""
    state = request.app.state
    await state.schema.check(state.database)
    async with state.database.read() as opened:
        yield opened


def database(state: State) -> Database:
    """The database itself, for handlers that wait and must hold no connection meanwhile."""
    found: Database = state.database
    return found


def changes(state: State) -> Changes:
    """What tells of changes of registry state."""
    found: Changes = state.changes
    return found


DEPENDENCIES = {
    "who": Provide(who, sync_to_thread=False),
    "session": Provide(session),
    "read_session": Provide(read_session),
    "database": Provide(database, sync_to_thread=False),
    "changes": Provide(changes, sync_to_thread=False),
}
