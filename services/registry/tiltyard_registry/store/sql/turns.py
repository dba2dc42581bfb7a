"""Turns at what only one of a process does at a time, in order of arrival."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Turn:
    """Something that one of this process has at a time. Who has it gives it back with `leave`."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.wanted = 0
        """How many have it or wait for it."""

    @property
    def is_free(self) -> bool:
        """Whether nobody has it now."""
        return not self._lock.locked()

    async def come(self, wait_s: float) -> None:
        """Returns when it is the caller's turn.

        Raises:
            TimeoutError: it was not within `wait_s` seconds.
        """
        self.wanted += 1
        try:
            if self.is_free:
                await self._lock.acquire()
                return
            async with asyncio.timeout(wait_s):
                await self._lock.acquire()
        except BaseException:
            self.wanted -= 1
            raise

    def leave(self) -> None:
        """Has the next one come."""
        self.wanted -= 1
        self._lock.release()

    @asynccontextmanager
    async def taken(self, wait_s: float) -> AsyncGenerator[None]:
        """The caller's turn, until it is left. Raises: TimeoutError: as `come`, or of what is done in it."""
        await self.come(wait_s)
        try:
            yield
        finally:
            self.leave()


class LimitedTurn:
    """Something that one of this process has at a time, for `most_s` seconds: then the next one has it as well."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def taken(self) -> AsyncGenerator[None]:
        """The caller's turn, when it has come."""
        await self._lock.acquire()
        has_left = False

        def leave() -> None:
            nonlocal has_left
            if not has_left:
                has_left = True
                self._lock.release()

        timer = asyncio.get_running_loop().call_later(self._most_s, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()
