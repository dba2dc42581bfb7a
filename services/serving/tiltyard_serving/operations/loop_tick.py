"""How late the event loop is."""

import asyncio
from collections.abc import Callable


class LoopTick:
    """Has `count` called at the end of the turn of the event loop in which something was noted.

    A metric is locked for each change, and changing those of one request costs as much as decoding it: what
    belongs to requests is noted, and counted for all of them at once. Used in the event loop.
    """

    __slots__ = ("_count", "noted")

    def __init__(self, count: Callable[[], object]) -> None:
        self.noted = False
        self._count = count

    def note(self) -> None:
        """To be called when nothing is `noted` yet."""
        self.noted = True
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self.noted = False
        self._count()
