"""Logs as lines on standard error, written by a thread: a request never waits for whoever reads them."""

import logging
import sys
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from tiltyard.telemetry.log_lines import LineFormatter, LogStyle, line_of

# Lines beyond these are dropped rather than kept in memory.
_MAX_WAITING = 10_000
# So long a line waits for others.
_GATHER_S = 0.02

_ACCESS = "tiltyard_registry.access"


def log_access(message: str, fields: dict[str, Any]) -> None:
    """Adds one line about a request to the log, where it is kept; past the logging library, which costs more."""
    if _access:
        line = line_of(datetime.now(UTC), "INFO", _ACCESS, message)
        _access[-1].add_fields({**line, **fields})


class _Lines(logging.Handler):
    """Hands lines over to a thread, which writes all that waits at once: no request pays for a system call."""

    def __init__(self, stream: TextIO, style: LogStyle) -> None:
        super().__init__()
        self.setFormatter(LineFormatter(style))
        self._write_line = style.write_line
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._there, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        self.add(self.format(record))

    def add_fields(self, fields: dict[str, Any]) -> None:
        """Takes the fields of a line to be written."""
        self.add(self._write_line(fields))

    def add(self, line: str) -> None:
        """Takes a line to be written."""
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(line)
            if not self._there.is_set():
                self._there.set()

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        self._ends.set()
        self._there.set()
        self._thread.join()
        super().close()

    def _write(self) -> None:
        while not self._ends.is_set():
            self._there.wait()
            self._ends.wait(_GATHER_S)
            self._there.clear()
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        # Whoever reads them may be gone; that ends no request.
        with suppress(OSError, ValueError):
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()


# Where lines about requests go, while they are kept.
_access: list[_Lines] = []


@contextmanager
def line_logs(style: LogStyle, *, access: bool, stream: TextIO | None = None) -> Generator[None]:
    """Sends all logging of the process to `stream` as lines; on leaving, all that waits is written."""
    lines = _Lines(stream or sys.stderr, style)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers[:] = [lines]
    root.setLevel(style.level)
    if access:
        _access.append(lines)
    # Of what it reads and whom it finds it tells on every start; that it migrates is told by whoever asked it to.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        yield
    finally:
        if access:
            _access.remove(lines)
        lines.close()
        root.handlers[:] = before
        root.setLevel(level)
