"""Callers that were known a moment ago, so that not every request asks the database who makes it.

What is remembered is dropped as soon as anything but a model changes: a token, a principal, who is in which group.
Grants are never remembered: the statements that find rows ask for them.
"""

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.events.changes import Changes

KEPT_S = 5.0
_MOST = 10_000


class _Known(NamedTuple):
    who: Principal
    until: float
    seen: int


class KnownCallers:
    """Those of one provider, by what they came with, of which a digest under a key of this process is kept."""

    def __init__(
        self, changes: Changes, *, kept_s: float = KEPT_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._changes = changes
        self._kept_s = kept_s
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, _Known] = {}

    async def get(self, credentials: str, find: Callable[[], Awaitable[Principal | None]]) -> Principal | None:
        """The caller with these credentials, asked of `find` unless that is known; None is asked again each time.

        Raises: as `find`.
        """
        digest = hashlib.blake2b(credentials.encode(), key=self._key, digest_size=16).digest()
        known = self._known.get(digest)
        # Read before the question: what changes while it is asked may be missing from the answer.
        seen = self._changes.seen_of_all
        if known is not None and known.seen == seen and self._clock() < known.until and self._changes.is_heard:
            return known.who
        who = await find()
        if who is None:
            self._known.pop(digest, None)
            return None
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[digest] = _Known(who, self._clock() + self._kept_s, seen)
        return who
