"""Numbers of several processes of one service, which each write them into files of a folder that they share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# The folder; the library reads it too, when it is imported.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def is_shared() -> bool:
    """Whether other processes have their part of each number."""
    return bool(os.environ.get(VARIABLE))


def together(own: "CollectorRegistry") -> "CollectorRegistry":
    """The metrics of all processes that share the folder; `own` where there is none."""
    if not is_shared():
        return own
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
    return registry


def forget(pid: int, folder: Path) -> None:
    """Takes what a dead process's gauges said out of the sum; its counters stay counted."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
