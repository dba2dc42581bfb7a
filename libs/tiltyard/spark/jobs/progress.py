"""How far the stages of a running Spark job are."""

import threading
import time
from collections.abc import Callable
from typing import Any


class Progress:
    """Calls `show` with one line whenever the counts of finished tasks changed, while the block runs."""

    def __init__(self, spark: Any, show: Callable[[str], None] | None, *, interval_s: float = 1.0) -> None:
        # A Connect session has no status tracker; jobs there run in silence.
        self._tracker = spark.sparkContext.statusTracker() if show is not None and hasattr(spark, "_jvm") else None
        self._show = show
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tiltyard-progress", daemon=True)

    def __enter__(self) -> None:
        if self._tracker is not None:
            self._thread.start()

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        if self._tracker is not None:
            self._thread.join()

    def _watch(self) -> None:
        started, last = time.monotonic(), ""
        while not self._ended.wait(self._interval_s):
            line = self._line()
            if line and line != last and self._show is not None:
                self._show(f"{line}, {time.monotonic() - started:.0f} s")
                last = line

    def _line(self) -> str:
        tracker: Any = self._tracker
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        running = [stage for stage in stages if stage is not None]
        done = sum(stage.numCompletedTasks for stage in running)
        return f"{done} of {sum(stage.numTasks for stage in running)} tasks done" if running else ""
