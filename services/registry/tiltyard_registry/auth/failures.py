"""Wrong passwords, counted: after some of them a name is tried from one address only now and then."""

import math
import time
from collections import deque
from collections.abc import Callable

MOST = 10
WITHIN_S = 300.0
EVERY_S = 2.0
_MOST_REMEMBERED = 10_000

Attempt = tuple[str, str]
"""A name, and the address that it was tried from."""


class Failures:
    """Those of one process. A name is never locked: its owner, elsewhere, goes on."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[Attempt, deque[float]] = {}
        self._next: dict[Attempt, float] = {}

    def wait_s(self, attempt: Attempt) -> int:
        """How many seconds are to be waited before it is tried again; 0 when it may be tried now.

        It counts as tried then: of many at once one is.
        """
        now = self._clock()
        failed = self._failed.get(attempt)
        while failed and failed[0] <= now - WITHIN_S:
            failed.popleft()
        if not failed or len(failed) < MOST:
            self._next.pop(attempt, None)
            return 0
        at = self._next.get(attempt, now)
        if at > now:
            return math.ceil(at - now)
        self._next[attempt] = now + EVERY_S
        return 0

    def failed(self, attempt: Attempt) -> None:
        """Counts a wrong password."""
        # The longest untried comes first, and is forgotten first.
        failed = self._failed.pop(attempt, None) or deque(maxlen=MOST)
        failed.append(self._clock())
        self._failed[attempt] = failed
        if len(self._failed) > _MOST_REMEMBERED:
            oldest = next(iter(self._failed))
            del self._failed[oldest]
            self._next.pop(oldest, None)

    def succeeded(self, attempt: Attempt) -> None:
        """Forgets what was wrong before."""
        self._failed.pop(attempt, None)
        self._next.pop(attempt, None)
