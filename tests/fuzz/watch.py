"""What attacked services take: memory, and how long they answer nobody.

A stall counts as long as the service computed in it: a machine that is busy with others lets everybody wait, and a
service that waits for its turn has not stalled.
"""

import contextlib
import http.client
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

EACH_S = 0.02
LIVE_TIMEOUT_S = 60.0


class Watch:
    """Asks one service for /livez all the time. `label` says what is under way when a stall is noted."""

    def __init__(self, port: int, pid: int, label: Callable[[], str]) -> None:
        self._port = port
        self._process = psutil.Process(pid)
        self._label = label
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._before_bytes = self.memory_bytes()
        self.peak_growth_bytes = 0
        self.largest_stall_s = 0.0
        self.largest_wait_s = 0.0
        self.stalled_at = ""
        self.failures: list[str] = []

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends."""
        self._stop.set()
        self._thread.join()

    @property
    def growth_bytes(self) -> int:
        """How much more memory it has now than in the beginning."""
        return self.memory_bytes() - self._before_bytes

    def memory_bytes(self) -> int:
        """The resident memory of its processes."""
        found = 0
        for process in self._processes():
            try:
                found += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return found

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _computed_s(self) -> float:
        """The processor time of all its threads, in nanoseconds' resolution."""
        total_ns = 0
        for process in self._processes():
            for thread in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                try:
                    total_ns += int(thread.read_text().split()[0])
                except (OSError, IndexError):
                    continue
        return total_ns / 1e9

    def _run(self) -> None:
        # Before the services in turn, where that is allowed: what is measured is them.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        while not self._stop.wait(EACH_S):
            self.peak_growth_bytes = max(self.peak_growth_bytes, self.growth_bytes)
            label, computed_s, began_s = self._label(), self._computed_s(), time.monotonic()
            try:
                self._ask()
            except (OSError, http.client.HTTPException) as error:
                if not self._stop.is_set():
                    self.failures.append(f"/livez: {error!r} while {label}")
                    time.sleep(0.5)
                continue
            waited_s = time.monotonic() - began_s
            stall_s = min(waited_s, self._computed_s() - computed_s)
            self.largest_wait_s = max(self.largest_wait_s, waited_s)
            if stall_s > self.largest_stall_s:
                self.largest_stall_s, self.stalled_at = stall_s, f"{label} … {self._label()}"

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIVE_TIMEOUT_S)
        try:
            connection.request("GET", "/livez")
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                self.failures.append(f"/livez: {response.status}")
        finally:
            connection.close()
