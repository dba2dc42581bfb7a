"""One line of the log for each scoring request, written together at the end of a turn of the event loop."""

import logging
import time

from tiltyard_serving.operations.loop_tick import LoopTick
from tiltyard_serving.scoring.in_flight import Pending

_log = logging.getLogger("tiltyard_serving.access")


class AccessLog:
    """Notes what was asked and answered: path, status, milliseconds, the version that answered, the caller's id."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str | None]] = []
        self._turn = LoopTick(self._write)

    def note(self, call: Pending, path: str, status: int, named: str | None) -> None:
        """Notes one request that has been answered. Called in the event loop."""
        took_ms = (time.perf_counter() - call.began_s) * 1e3
        by = "" if call.model is None else f" {call.model.name}/{call.model.version}"
        self._lines.append((f"POST {path[:300]} {status} {took_ms:.2f} ms{by}", named))
        if not self._turn.noted:
            self._turn.note()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        for line, named in lines:
            _log.info("%s", line, extra={"request_id": named})
