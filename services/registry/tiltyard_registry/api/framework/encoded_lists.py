"""Answers that hold one long list: sent whole when it is short, else part by part as it is read."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from litestar import MediaType, Response
from litestar.response import Stream

from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.json_text import EncodedJson


def document(database: Database, name: str, part: EncodedJson) -> Response[Any]:
    """The object whose field `name` is the list that `part` begins, and whose token is that of the list's last part."""
    head = f'{{"{name}":['.encode()
    if part.following is None:
        return Response(head + part.text + _end(part), media_type=MediaType.JSON)

    async def pieces() -> AsyncGenerator[bytes]:
        now = part
        yield head + now.text
        while now.following is not None:
            # A session per part: a slow reader holds no connection.
            async with database.read() as session:
                now = await now.following(session)
            yield b"," + now.text
        yield _end(now)

    return Stream(pieces(), media_type=MediaType.JSON)


def _end(part: EncodedJson) -> bytes:
    if part.next_page_token is None:
        return b"]}"
    return b'],"next_page_token":' + msgspec.json.encode(part.next_page_token) + b"}"
