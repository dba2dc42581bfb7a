"""What handlers ask for by name: `who`, `session`, `read_session`, `artifacts`, `hold`, `expected_version`."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, HeaderParameter

from tiltyard.errors import InvalidParameterValue, NothingDone
from tiltyard_registry.api.framework.binding import invalid
from tiltyard_registry.api.framework.blocking_query import MAX_WAIT_S, BlockingQuery
from tiltyard_registry.auth.layer import principal_of
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store import migrations
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.models.aliases import ABSENT
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match")]

_SCHEMA_IS_OLD = "The registry's database does not have the schema this server expects. Run 'tiltyard migrate'."


class Schema:
    """Whether the database has the schema that this code expects; looked up until it has, then known."""

    def __init__(self) -> None:
        self._is_current = False

    async def check(self, database: Database) -> None:
        """Passes once the schema is there.

        Raises:
            NothingDone: it is older or newer, or the database does not answer.
        """
        if self._is_current:
            return
        async with database.read() as session:
            self._is_current = await migrations.is_current(session)
        if not self._is_current:
            raise NothingDone(_SCHEMA_IS_OLD, retry_after_s=5)


def who(request: Request[Any, Any, Any]) -> Principal:
    """The caller.

    Raises:
        Unauthenticated: no provider knows him.
    """
    return principal_of(request.scope)


# Sessions ask for `who` so that a stranger opens none, and because one dependency after the other costs less than
# two at once, for which the framework starts tasks.


async def session(
    request: Request[Any, Any, Any],
    who: NamedDependency[Principal],  # noqa: ARG001
) -> AsyncGenerator[Session]:
    """One transaction, committed before the answer is sent."""
    state = request.app.state
    await state.schema.check(state.database)
    async with state.database.write(request_id=request.scope["state"].get("request_id")) as opened:
        yield opened


async def read_session(
    request: Request[Any, Any, Any],
    who: NamedDependency[Principal],  # noqa: ARG001
) -> AsyncGenerator[Session]:
    """A session for reads only."""
    state = request.app.state
    await state.schema.check(state.database)
    async with state.database.read() as opened:
        yield opened


async def database(
    request: Request[Any, Any, Any],
    who: NamedDependency[Principal],  # noqa: ARG001
) -> Database:
    """The database, for a door that works before and after its transaction too."""
    state = request.app.state
    await state.schema.check(state.database)
    opened: Database = state.database
    return opened


def request_id(request: Request[Any, Any, Any]) -> str | None:
    """The id of this request."""
    found: str | None = request.scope["state"].get("request_id")
    return found


def artifacts(state: State) -> ArtifactRoot:
    """Where the registry keeps files."""
    found: ArtifactRoot = state.artifacts
    return found


async def hold(
    request: Request[Any, Any, Any],
    who: NamedDependency[Principal],  # noqa: ARG001
    wait: FromQuery[float] = 0,
    if_none_match: IfNoneMatch = None,
) -> BlockingQuery:
    """The blocking query of this request: how long to wait, and for what other than what the caller has.

    Raises:
        InvalidParameterValue: nobody may wait that long.
    """
    if not 0 <= wait <= MAX_WAIT_S:
        raise InvalidParameterValue(invalid("wait", wait, f"Expected seconds between 0 and {MAX_WAIT_S}"))
    state = request.app.state
    await state.schema.check(state.database)
    return BlockingQuery(state.database, state.changes, state.draining, wait, if_none_match)


def expected_version(if_match: IfMatch = None, if_none_match: IfNoneMatch = None) -> str | None:
    """What `If-Match: "3"` says an alias must name now; empty when `If-None-Match: *` says it must be absent."""
    if (if_none_match or "").strip() == "*":
        return ABSENT
    if if_match is None or if_match.strip() == "*":
        return None
    return if_match.strip().removeprefix("W/").strip('"')


DEPENDENCIES = {
    "who": Provide(who, sync_to_thread=False),
    "session": Provide(session),
    "read_session": Provide(read_session),
    "database": Provide(database),
    "request_id": Provide(request_id, sync_to_thread=False),
    "artifacts": Provide(artifacts, sync_to_thread=False),
    "hold": Provide(hold),
    "expected_version": Provide(expected_version, sync_to_thread=False),
}
