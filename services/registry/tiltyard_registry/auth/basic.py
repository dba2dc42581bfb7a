"""Names and passwords."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from functools import partial

from tiltyard.errors import RequestLimitExceeded, Unauthenticated
from tiltyard_registry.auth.credentials import Pair, basic
from tiltyard_registry.auth.failures import Failures
from tiltyard_registry.auth.known_callers import KnownCallers
from tiltyard_registry.auth.password_hashes import is_outdated
from tiltyard_registry.auth.sources import Sources
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.passwords import MOST_CHARS
from tiltyard_registry.store.principals.passwords import Known, owner_of, password_of, rehash

_REMEMBERED_S = 300.0
_MOST_REMEMBERED = 10_000


class Basic:
    """The provider `basic`.

    A pair that was right is remembered for five minutes, as a digest under a key of this process, with the number of
    the password: Basic credentials come with every request, and a hash takes long by intention.
    """

    def __init__(self, sources: Sources) -> None:
        self._database = sources.database
        self._known = KnownCallers(sources.changes)
        self._hashes = sources.hashes
        self._failures = Failures()
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, tuple[int, float]] = {}

    async def __call__(self, headers: Mapping[str, str], address: str) -> Principal | None:
        """The user with the name and the password that the request came with; None when it came with none.

        Raises:
            Unauthenticated: there is no such user, or the password is another.
            RequestLimitExceeded: that name was tried too often from that address.
        """
        pair = basic(headers)
        if pair is None:
            return None
        who = await self._known.get(f"{pair.name}:{pair.password}", partial(self._find, pair, address))
        if who is None:
            raise Unauthenticated("The name is unknown or the password is wrong.")
        return who

    async def _find(self, pair: Pair, address: str) -> Principal | None:
        known = await password_of(self._database, pair.name)
        digest = hmac.digest(self._key, f"{pair.name}:{pair.password}".encode(), hashlib.sha256)
        if known is not None and self._is_remembered(digest, known):
            return await owner_of(self._database, known, via="basic")
        attempt = (pair.name, address)
        if wait_s := self._failures.wait_s(attempt):
            raise RequestLimitExceeded("That name was tried with wrong passwords too often.", retry_after_s=wait_s)
        fits = len(pair.password) <= MOST_CHARS and await self._hashes.fits(known and known.hash, pair.password)
        if known is None or not fits:
            self._failures.failed(attempt)
            return None
        self._failures.succeeded(attempt)
        if is_outdated(known.hash):
            await rehash(self._database, known, await self._hashes.hash(pair.password))
        if len(self._right) >= _MOST_REMEMBERED:
            self._right.clear()
        self._right[digest] = (known.epoch, time.monotonic() + _REMEMBERED_S)
        return await owner_of(self._database, known, via="basic")

    def _is_remembered(self, digest: bytes, known: Known) -> bool:
        epoch, until = self._right.get(digest, (-1, 0.0))
        return epoch == known.epoch and time.monotonic() < until
