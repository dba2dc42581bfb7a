"""Logs as lines, one for each record."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tiltyard.telemetry.log_lines import LineFormatter, LogStyle


@contextmanager
def line_logs(style: LogStyle) -> Iterator[None]:
    """Formats what the process logs to its standard streams as lines; on leaving, as before."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(style.level)
    streams = [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    before = [handler.formatter for handler in streams]
    for handler in streams:
        handler.setFormatter(LineFormatter(style))
    try:
        yield
    finally:
        root.setLevel(level)
        for handler, formatter in zip(streams, before, strict=True):
            handler.setFormatter(formatter)
