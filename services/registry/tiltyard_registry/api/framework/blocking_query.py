"""Blocking queries: an answer at once if it differs from what the caller has, else when it changes.

    return await hold.answer(read, {"m"})      # read: database -> wire Struct, of the model m

Callers send the ETag of what they have (`If-None-Match`) and how long they can wait (`wait`, in seconds). They are
told the state, never a list of what happened, so there is nothing to miss and nothing to replay.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Collection

import msgspec
from litestar import Response

from tiltyard_registry.store.events.changes import Changes
from tiltyard_registry.store.sql.database import Database

MAX_WAIT_S = 60


class BlockingQuery:
    """One blocking query. While it waits it holds no connection to the database."""

    def __init__(
        self, database: Database, changes: Changes, draining: asyncio.Event, wait_s: float, known: str | None
    ) -> None:
        self._database = database
        self._changes = changes
        self._draining = draining
        self._known = {tag.strip().removeprefix("W/") for tag in (known or "").split(",")}
        self._until = time.monotonic() + wait_s

    async def answer(
        self, read: Callable[[Database], Awaitable[msgspec.Struct]], models: Collection[str]
    ) -> Response[bytes | None]:
        """The state that `read` gives and its ETag; 304 when it is still the one that the caller has.

        `models` are the shown names of the models that the state is of: it is read again when one of them changes.
        """
        while True:
            # Counted before the read, so that a change in between ends the wait at once.
            seen = self._changes.seen
            body = msgspec.json.encode(await read(self._database))
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            headers = {"etag": tag, "cache-control": "no-cache"}
            if tag not in self._known:
                return Response(body, media_type="application/json", headers=headers)
            left_s = self._until - time.monotonic()
            if left_s <= 0 or self._draining.is_set():
                return Response(None, status_code=304, headers=headers)
            await self._changes.wait(seen, left_s, models)
