"""Tokens of ours: as Bearer, or as the password of Basic for tools that know nothing else."""

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from tiltyard.errors import TemporarilyUnavailable, Unauthenticated
from tiltyard_registry.auth.credentials import basic, bearer
from tiltyard_registry.auth.known_callers import KnownCallers
from tiltyard_registry.auth.sources import Sources
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.tokens import hash_of, is_token, is_whole
from tiltyard_registry.store.principals.callers import USED_EVERY_MS, caller_of_token, note_use

_MOST_NOTED = 10_000


class Tokens:
    """The provider `token`."""

    def __init__(self, sources: Sources) -> None:
        self._database = sources.database
        self._known = KnownCallers(sources.changes)
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def __call__(self, headers: Mapping[str, str], _address: str) -> Principal | None:
        """The owner of the token that the request came with; None when it came with none of ours.

        Raises:
            Unauthenticated: the token is none that is good.
        """
        text = bearer(headers)
        if text is None and (pair := basic(headers)):
            text = pair.password
        if text is None or not is_token(text):
            return None
        who = None
        if is_whole(text):
            who = await self._known.get(text, partial(self._find, hash_of(text)))
        if who is None:
            raise Unauthenticated("The token is unknown, has expired or was revoked.")
        return who

    async def _find(self, hash: str) -> Principal | None:
        who = await caller_of_token(self._database, hash)
        now_s = time.monotonic()
        if who is not None and self._noted.get(hash, -math.inf) < now_s - USED_EVERY_MS / 1000:
            if len(self._noted) >= _MOST_NOTED:
                self._noted.clear()
            self._noted[hash] = now_s
            # Beside the request: who only reads shall not wait for those who write.
            task = asyncio.create_task(self._note(hash))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)
        return who

    async def _note(self, hash: str) -> None:
        # A token is good on a disk that is full, too.
        with suppress(TemporarilyUnavailable):
            await note_use(self._database, hash)
