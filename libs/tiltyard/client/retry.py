"""When a call is repeated, and after how long: a policy without I/O.

policy = retrying(creates=False)
delay_s = next(policy)                     # 0: send now
delay_s = policy.send(outcome)             # wait, send again ...
                                           # ... until StopIteration carries the last outcome
"""

import random
import time
from collections.abc import Callable, Generator

from tiltyard.client.call import Answer, retry_after_s

TOTAL_S = 30.0
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0

_NOTHING_DONE = 429
_MAYBE_DONE = frozenset({500, 502, 503, 504})


class Unsent(Exception):
    """No connection was made, so the server cannot have done anything."""


class Unanswered(Exception):
    """The request may have arrived; no answer came."""


Outcome = Answer | Unsent | Unanswered


def retrying(
    *,
    creates: bool,
    total_s: float = TOTAL_S,
    clock: Callable[[], float] = time.monotonic,
    jitter: Callable[[], float] = random.random,
) -> Generator[float, Outcome, Outcome]:
    """Yields the seconds to wait before each try, is sent what came of it, and returns the last outcome.

    Connect errors and 429 are repeated: nothing was done. So are 500, 502, 503, 504 and lost answers, unless the
    call creates something, which may be there already. A `Retry-After` is honoured. No try begins later than
    `total_s` after the first.
    """
    began = clock()
    backoff_s = FIRST_DELAY_S
    outcome = yield 0.0
    while _repeatable(outcome, creates=creates):
        asked_s = retry_after_s(outcome) if isinstance(outcome, Answer) else None
        # Whatever the server wishes, it is not asked without pause.
        delay_s = max(backoff_s * (0.5 + jitter()), asked_s or 0.0)
        if clock() + delay_s - began > total_s:
            break
        backoff_s = min(2 * backoff_s, MAX_DELAY_S)
        outcome = yield delay_s
    return outcome


def _repeatable(outcome: Outcome, *, creates: bool) -> bool:
    if isinstance(outcome, Unsent):
        return True
    if isinstance(outcome, Unanswered):
        return not creates
    return outcome.status == _NOTHING_DONE or (outcome.status in _MAYBE_DONE and not creates)
