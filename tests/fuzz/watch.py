"""What attacked services take: memory, and how long they answer nobody. See `probe` for how it is measured."""

import json
import subprocess
import sys
import threading
import time
from typing import Literal, NamedTuple

from tests.fuzz import probe

_ANSWERS_WITHIN_S = 2 * probe.LIVE_TIMEOUT_S


class Slow(NamedTuple):
    """One answer of /livez that took long, how much was a stall, and what the busiest thread and the loop did.

    Among others, the busiest thread may have nothing to do with a stall, and `stall_s` counts. When a case is alone, it
    is its own thread, and `alone_s` counts.
    """

    began_s: float
    ended_s: float
    stall_s: float
    turns_s: float = 0.0
    busy_s: float = 0.0
    loop_s: float = 0.0

    @property
    def alone_s(self) -> float:
        """How long the stall of a case that is alone would have been, had its thread never waited for its turn."""
        return max(0.0, self.stall_s - self.turns_s)


class Watch:
    """A probe of one service, and what it has told."""

    def __init__(
        self,
        port: int,
        pid: int,
        *,
        each_s: float = probe.EACH_S,
        told_s: float = probe.TOLD_S,
        connected: Literal["each", "once"] = "each",
    ) -> None:
        self.slow: list[Slow] = []
        self.memory: list[tuple[float, int]] = []
        self.failures: list[str] = []
        self._before_bytes = probe.memory_bytes(pid)
        self._told = threading.Condition()
        self._command = [sys.executable, probe.__file__, *map(str, (port, pid, each_s, told_s)), connected]
        self._probe: subprocess.Popen[str] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._probe = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader.start()

    def stop(self) -> None:
        """Ends."""
        if self._probe is not None and self._probe.stdin is not None:
            self._probe.stdin.close()
            self._probe.wait()
            self._reader.join()
            assert self._probe.stdout is not None
            self._probe.stdout.close()

    @property
    def largest(self) -> Slow:
        """The largest stall so far."""
        return max(self.slow, key=lambda slow: slow.stall_s, default=Slow(0.0, 0.0, 0.0))

    def largest_stall_s(self, began_s: float) -> float:
        """The largest stall from a time on, of a case that is alone."""
        self.catch_up()
        with self._told:
            return max((slow.alone_s for slow in self.slow if slow.ended_s > began_s), default=0.0)

    def catch_up(self) -> None:
        """Waits until the probe has told of all up to now."""
        now_s = time.monotonic()
        with self._told:
            self._told.wait_for(lambda: bool(self.memory) and self.memory[-1][0] > now_s, _ANSWERS_WITHIN_S)

    def growth_bytes(self, parts: int) -> list[tuple[int, int]]:
        """By how much memory had grown, at least and at most, in each of so many equal parts of the time.

        What is at most is what was under way then; what is at least is what stays.
        """
        if not self.memory:
            return []
        first_s, last_s = self.memory[0][0], self.memory[-1][0]
        grown: list[list[int]] = [[] for _ in range(parts)]
        for at_s, size_bytes in self.memory:
            part = min(parts - 1, int(parts * (at_s - first_s) / max(1e-9, last_s - first_s)))
            grown[part].append(max(0, size_bytes - self._before_bytes))
        return [(min(part, default=0), max(part, default=0)) for part in grown]

    def _read(self) -> None:
        assert self._probe is not None and self._probe.stdout is not None
        for line in self._probe.stdout:
            told = json.loads(line)
            with self._told:
                if "stall_s" in told:
                    self.slow.append(Slow(**told))
                elif "failure" in told:
                    self.failures.append(told["failure"])
                else:
                    self.memory.append((told["at_s"], told["memory_bytes"]))
                    self._told.notify_all()
