"""One line of the log for each scoring request, written together at the end of a turn of the event loop."""

import logging

from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.operations.metrics import LoopTick

_log = logging.getLogger("tiltyard_serving.access")


class AccessLog:
    """Notes what was asked and answered: path, status, milliseconds, the version that answered, the caller's id."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str | None]] = []
        self._turn = LoopTick(self._write)

    def note(self, path: str, status: int, took_s: float, model: LoadedModel | None, request_id: str | None) -> None:
        """Notes one request that has been answered. Called in the event loop."""
        by = "" if model is None else f" {model.name}/{model.version}"
        self._lines.append((f"POST {path[:300]} {status} {took_s * 1e3:.2f} ms{by}", request_id))
        if not self._turn.noted:
            self._turn.note()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        for line, request_id in lines:
            _log.info("%s", line, extra={"request_id": request_id})
