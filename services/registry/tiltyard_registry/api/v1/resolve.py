"""What model URIs name now, asked once or held until it changes. Path: /api/tiltyard/v1/resolve"""

from typing import Annotated

from litestar import Response
from msgspec import Meta

from tiltyard.wire.v1.resolution import Resolved, ResolveReply, Unresolved
from tiltyard_registry.api.framework.blocking_query import BlockingQuery
from tiltyard_registry.api.framework.replies import replies, reply
from tiltyard_registry.api.framework.routes import get
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.models import resolution
from tiltyard_registry.store.one_statement.resolve import read_resolved
from tiltyard_registry.store.sql.database import Database

MAX_URIS = 256


@get("/resolve")
async def resolve(
    hold: BlockingQuery, who: Principal, uri: Annotated[list[str], Meta(min_length=1, max_length=MAX_URIS)]
) -> Response[bytes | None]:
    """The exact version, digest and location that each URI names now.

    With `If-None-Match` and `wait` the answer is held until it differs, or is 304 when the wait ends.
    """

    async def read(database: Database) -> ResolveReply:
        found = await read_resolved(database, who, uri)
        if found is not None:
            return ResolveReply(replies(found, Resolved))
        async with database.read() as session:
            rows = await resolution.resolve(session, who, uri)
        return ResolveReply([reply(row, Unresolved) if "error_code" in row else reply(row, Resolved) for row in rows])

    return await hold.answer(read, resolution.models_of(uri))
