"""The first requests of a version that has just taken traffic: too many failures, and it is taken back."""

from collections.abc import Callable

from tiltyard.errors import DeadlineExceeded, InternalError, TiltyardError
from tiltyard_serving.model import MODEL_FAILED, LoadedModel


class Trial:
    """Counts the answers of one new version and decides once.

    It fails as soon as more than `max_error_rate` of its first `requests` requests must have failed, and passes
    once so many are answered.
    """

    def __init__(
        self, model: LoadedModel, requests: int, max_error_rate: float, decide: Callable[[str | None], object]
    ) -> None:
        """`decide` is called once: with the reason when the trial failed, else with None."""
        self._model = model
        self._requests = requests
        self._allowed = requests * max_error_rate
        self._max_error_rate = max_error_rate
        self._decide = decide
        self._answered = 0
        self._failed = 0

    def count(self, model: LoadedModel, error: Exception | None) -> None:
        """Counts one request, if it is the tried version that answered or failed to."""
        if model is not self._model:
            return
        self._answered += 1
        if error is not None and blames_model(error):
            self._failed += 1
            if self._failed > self._allowed:
                self._decide(
                    f"{self._failed} of its first {self._answered} requests failed, "
                    f"more than {self._max_error_rate:.0%} of {self._requests} may not"
                )
                return
        if self._answered >= self._requests:
            self._decide(None)


def blames_model(error: Exception) -> bool:
    """Whether a request failed because of the model: not for bad input, a full queue or a caller who left."""
    if not isinstance(error, TiltyardError):
        return True
    return isinstance(error, InternalError | DeadlineExceeded) or error.message == MODEL_FAILED
