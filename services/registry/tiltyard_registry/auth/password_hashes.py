"""Hashes of passwords by Argon2id, made beside the event loop.

A hash takes some 30 ms of a processor and 19 MiB by intention: two threads make them, so that who floods the server
with passwords takes no more of it. Source of the parameters: OWASP's Password Storage Cheat Sheet.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any, TypeVar

from tiltyard.errors import RequestLimitExceeded

T = TypeVar("T")
_THREADS = 2
_MOST_WAITING = 64


@cache
def _hasher() -> Any:
    # Loaded when there is a password: a registry without any starts without it.
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_of(password: str) -> str:
    """The hash of a new password."""
    return str(_hasher().hash(password))


def is_outdated(hash: str) -> bool:
    """Whether a hash was made with other parameters than new ones are."""
    return bool(_hasher().check_needs_rehash(hash))


class PasswordHashes:
    """Makes and checks hashes in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="password")
        self._waiting = 0

    @cached_property
    def _nobodys(self) -> str:
        return hash_of("nobody has this password")

    async def hash(self, password: str) -> str:
        """The hash of a new password. Raises: RequestLimitExceeded: too many wait for one."""
        return await self._aside(lambda: hash_of(password))

    async def fits(self, hash: str | None, password: str) -> bool:
        """Whether a hash is of this password. Without a hash it is not, which takes as long to find.

        Raises:
            RequestLimitExceeded: too many wait for an answer.
        """

        def check() -> bool:
            from argon2.exceptions import InvalidHashError, VerificationError

            try:
                _hasher().verify(self._nobodys if hash is None else hash, password)
            except (VerificationError, InvalidHashError):
                return False
            return hash is not None

        return await self._aside(check)

    async def _aside(self, work: Callable[[], T]) -> T:
        if self._waiting >= _MOST_WAITING:
            raise RequestLimitExceeded("Too many passwords are being checked. Try again shortly.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
