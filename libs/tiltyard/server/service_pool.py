"""The processes of one service: their sockets, what they are told, and the folder of their metrics."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

from tiltyard.server.process import Work
from tiltyard.server.sockets import Address, bind, bind_one
from tiltyard.telemetry import multiprocess


class ServicePool:
    """The workers of one service: what they do, and the sockets they do it on."""

    def __init__(self, job: Work, address: Address, workers: int) -> None:
        """Binds the sockets.

        Raises:
            click.ClickException: the address cannot be bound.
        """
        self.job = job
        self.listeners = bind(address, workers)
        self.address = Address(address.host, self.listeners[0].getsockname()[1])
        self.url = self.address.url
        self.environment = dict(os.environ)
        # Removed when the service ends.
        self.folders: list[Path] = []
        self.metrics: Path | None = None
        if workers > 1:
            self.metrics = Path(tempfile.mkdtemp(prefix=f"tiltyard-{job.name}-metrics-"))
            self.environment[multiprocess.VARIABLE] = str(self.metrics)
            self.folders.append(self.metrics)

    def listener(self, number: int) -> socket.socket:
        """The socket of one place, bound again if it was closed.

        Raises:
            OSError: the port is not to be had any more.
        """
        if self.listeners[number].fileno() < 0:
            self.listeners[number] = bind_one(self.address, shared=len(self.listeners) > 1)
        return self.listeners[number]

    def forget(self, pid: int) -> None:
        """Takes what a dead worker's gauges said out of the sum; its counters stay counted."""
        if self.metrics is not None:
            multiprocess.forget(pid, self.metrics)

    def let_go(self) -> None:
        """Leaves the port to the workers: it closes when they close it."""
        for listener in self.listeners:
            listener.close()

    def close(self) -> None:
        """Gives up the port and the folders of the workers."""
        self.let_go()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
