"""The first requests of a version that has just taken traffic: too many failures, and it is taken back."""

import asyncio
from collections.abc import Awaitable, Callable

from tiltyard.errors import DeadlineExceeded, InternalError, TiltyardError
from tiltyard_serving.models.loaded_model import MODEL_FAILED, LoadedModel

# Asks another version what one was asked.
Ask = Callable[[LoadedModel], Awaitable[object]]


class Trial:
    """Counts the answers of one new version and decides once.

    It fails as soon as more than `max_error_rate` of its first `requests` requests must have failed, and passes
    once so many are answered. What the version before cannot answer either says nothing about the new one, and is
    not counted: so nobody's bad requests take a version back.
    """

    def __init__(
        self,
        model: LoadedModel,
        before: LoadedModel,
        requests: int,
        max_error_rate: float,
        decide: Callable[[str | None], object],
    ) -> None:
        """`decide` is called once: with the reason when the trial failed, else with None."""
        self._model = model
        self._before = before
        self._requests = requests
        self._allowed = requests * max_error_rate
        self._max_error_rate = max_error_rate
        self._decide = decide
        self._answered = 0
        self._failed = 0
        self._comparisons: set[asyncio.Task[None]] = set()
        self._over = False

    def count(self, model: LoadedModel, error: Exception | None, asking: Callable[[], Ask], took_s: float) -> None:
        """Counts one request, if it is the tried version that answered it or failed to, after `took_s`.

        `asking` gives what asks the version before the same.
        """
        if model is not self._model or self._over:
            return
        if error is None or not blames_model(error):
            self._note(failed=False)
        else:
            # It has as long as the new one had.
            limit_s = took_s if isinstance(error, DeadlineExceeded) else None
            comparison = asyncio.get_running_loop().create_task(self._compare(asking(), limit_s))
            self._comparisons.add(comparison)
            comparison.add_done_callback(self._comparisons.discard)

    def close(self) -> None:
        """Ends the trial, undecided if it is."""
        self._over = True
        for comparison in self._comparisons:
            comparison.cancel()

    async def _compare(self, ask: Ask, limit_s: float | None) -> None:
        before = self._before
        before.hold()
        try:
            async with asyncio.timeout(limit_s):
                await ask(before)
        except Exception:
            return
        finally:
            before.close()
        if not self._over:
            self._note(failed=True)

    def _note(self, *, failed: bool) -> None:
        self._answered += 1
        self._failed += failed
        if self._failed > self._allowed:
            self._decide(
                f"{self._failed} of its first {self._answered} requests failed, "
                f"more than {self._max_error_rate:.0%} of {self._requests} may not"
            )
        elif self._answered >= self._requests:
            self._decide(None)


def blames_model(error: Exception) -> bool:
    """Whether a request failed because of the model: not for bad input, a full queue or a caller who left."""
    if not isinstance(error, TiltyardError):
        return True
    return isinstance(error, InternalError | DeadlineExceeded) or error.message == MODEL_FAILED
