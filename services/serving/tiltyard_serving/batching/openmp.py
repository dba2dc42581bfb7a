"""How many threads of OpenMP a prediction may use, when several are made at once."""

from typing import Any

# Each prediction needs memory of its own.
_MAX_AT_ONCE = 4


class OpenMP:
    """The processors that OpenMP would use for one prediction, shared among several.

    `at_once` is how many predictions may go on at the same time, when the machine has `processes` such processes.
    Made off the event loop: to find the runtimes takes milliseconds.
    """

    def __init__(self, processes: int = 1) -> None:
        # It comes with scikit-learn, and so does the runtime: both are there once a model of it is.
        from threadpoolctl import ThreadpoolController

        self._runtimes: list[Any] = ThreadpoolController().select(user_api="openmp").lib_controllers
        self._processors = max((runtime.num_threads for runtime in self._runtimes), default=1)
        self.at_once = max(1, min(_MAX_AT_ONCE, self._processors // processes))

    def share(self, among: int) -> None:
        """The calling thread uses its part of the processors only, as one `among` so many. Costs microseconds."""
        for runtime in self._runtimes:
            runtime.set_num_threads(max(1, self._processors // among))
