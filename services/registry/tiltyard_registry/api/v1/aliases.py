"""Aliases with their memory: state, history, as of a time, back to before. Paths: /api/tiltyard/v1/models/…"""

from typing import Annotated

from litestar import Response
from msgspec import Meta

from tiltyard.names import parse_model_name
from tiltyard.wire.v1.aliases import AliasesReply, AliasHistoryPage, AliasMove, AliasState, SetAlias
from tiltyard_registry.api.framework.blocking_query import BlockingQuery
from tiltyard_registry.api.framework.replies import replies, reply
from tiltyard_registry.api.framework.routes import delete, get, post, put
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.models import aliases as store
from tiltyard_registry.store.models.related_rows import AliasRow
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session

Millis = Annotated[int, Meta(ge=0, le=2**63 - 1)]


@get("/models/{name:str}/aliases")
async def list_aliases(
    hold: BlockingQuery, who: Principal, name: str, at: Millis | None = None
) -> Response[bytes | None]:
    """The aliases of a model and the versions they name, or named `at` a time in milliseconds.

    With `If-None-Match` and `wait` the answer is held until it differs, or is 304 when the wait ends.
    """

    shown = parse_model_name(name).shown

    async def read(database: Database) -> AliasesReply:
        async with database.read() as session:
            rows = await store.list_aliases(session, who, name, at=at)
        return AliasesReply(shown, replies(rows, AliasState))

    return await hold.answer(read, {shown})


@get("/models/{name:str}/aliases/{alias:str}")
async def get_alias(
    read_session: Session, who: Principal, name: str, alias: str, at: Millis | None = None
) -> Response[AliasState]:
    """The version that an alias names, or named `at` a time in milliseconds; the ETag is that version."""
    return _state(await store.get_alias(read_session, who, name, alias, at=at))


@put("/models/{name:str}/aliases/{alias:str}")
async def set_alias(
    session: Session, who: Principal, name: str, alias: str, data: SetAlias, expected_version: str | None
) -> Response[AliasState]:
    """Has an alias name a version.

    With `If-Match: "3"` only if it names version 3 now, with `If-None-Match: *` only if it is absent; else 409.
    """
    return _state(await store.set_alias(session, who, name, alias, data.version, expected_version=expected_version))


@delete("/models/{name:str}/aliases/{alias:str}")
async def delete_alias(session: Session, who: Principal, name: str, alias: str, expected_version: str | None) -> None:
    """Removes an alias; an absent one is no error."""
    await store.delete_alias(session, who, name, alias, expected_version=expected_version)


@post("/models/{name:str}/aliases/{alias:str}/rollback")
async def rollback_alias(
    session: Session, who: Principal, name: str, alias: str, expected_version: str | None
) -> Response[AliasState]:
    """Has an alias name again what it named before; twice ends where it began."""
    return _state(await store.rollback_alias(session, who, name, alias, expected_version=expected_version))


@get("/models/{name:str}/aliases/{alias:str}/history")
async def list_alias_moves(
    read_session: Session,
    who: Principal,
    name: str,
    alias: str,
    max_results: int | None = None,
    page_token: str | None = None,
) -> AliasHistoryPage:
    """The moves of an alias, newest first: when, by whom, from which version to which."""
    rows, token = await store.alias_history(
        read_session, who, name, alias, max_results=max_results, page_token=page_token
    )
    return AliasHistoryPage(replies(rows, AliasMove), token)


def _state(row: AliasRow) -> Response[AliasState]:
    state = reply(row, AliasState)
    return Response(state, headers={"etag": f'"{state.version}"'})
