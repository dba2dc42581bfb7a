"""Watches one service from a process of its own: `probe.py PORT PID EACH_S TOLD_S CONNECTED`, until its input ends.

It asks /livez again and again, each time over a connection of its own (`each`), which takes some turns of the event
loop, or all over one (`once`), which takes one turn. It writes a JSON object a line: `began_s`, `ended_s` and
`stall_s` of each answer that took long, `failure` when none came, and now and then `memory_bytes` with `at_s`. All
times are of the monotonic clock.

What counts as a stall is the time without an answer, less the time that the event loop and this program waited for
their turns on a processor, and less what the host of a virtual machine took of it: on a busy machine everybody waits,
and who waits for its turn has not stalled. `turns_s` is how long that other thread of the service waited for its turns
that ran most: if it was the one that kept the loop waiting, by a lock that it held, the stall was shorter by so much.
Threads that hardly ran held nothing for long, however long they waited. `busy_s` is how long that one ran, and `loop_s`
how long the event loop did.
"""

import contextlib
import http.client
import json
import os
import select
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

EACH_S = 0.02
MEMORY_EACH_S = 0.25
LIVE_TIMEOUT_S = 60.0
# Shorter ones are not worth a line.
TOLD_S = 0.05


def main(port: int, pid: int, each_s: float, told_s: float, connected: str) -> None:
    """Watches until the standard input ends: asks after each pause of `each_s`, and tells of what takes `told_s`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIVE_TIMEOUT_S)
    # Before the services in turn, where that is allowed: what is measured is them.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    next_memory_s = 0.0
    while not select.select([sys.stdin], [], [], each_s)[0]:
        began_s, lost_s, others, loop_s = time.monotonic(), _lost_s(pid), _others(pid), _loop(pid)[0]
        try:
            failure = ask(connection)
        except (OSError, http.client.HTTPException) as error:
            failure = repr(error)
        if failure is not None or connected == "each":
            # It connects again by itself.
            connection.close()
        ended_s = time.monotonic()
        stall_s = ended_s - began_s - (_lost_s(pid) - lost_s)
        if failure is not None:
            _tell(failure=failure, at_s=began_s)
            time.sleep(0.5)
        elif ended_s - began_s > told_s:
            busy_s, turns_s = busiest(others, _others(pid))
            spent = {"turns_s": turns_s, "busy_s": busy_s, "loop_s": _loop(pid)[0] - loop_s}
            _tell(began_s=began_s, ended_s=ended_s, stall_s=max(0.0, stall_s), **spent)
        if ended_s > next_memory_s:
            _tell(memory_bytes=memory_bytes(pid), at_s=ended_s)
            next_memory_s = ended_s + MEMORY_EACH_S


def ask(connection: http.client.HTTPConnection) -> str | None:
    """What is wrong with the answer of /livez, or None."""
    connection.request("GET", "/livez")
    response = connection.getresponse()
    response.read()
    return None if response.status == 200 else f"status {response.status}"


def memory_bytes(pid: int) -> int:
    """The resident memory of a process and of its children."""
    found = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += one.memory_info().rss
    return found


def busiest(before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """How long the thread that ran most between two looks at all of them ran, and how long it waited for its turns."""
    spent = []
    for thread, (ran_s, waited_s) in after.items():
        ran_before_s, waited_before_s = before.get(thread, (0.0, 0.0))
        spent.append((ran_s - ran_before_s, waited_s - waited_before_s))
    return max(spent, default=(0.0, 0.0))


def _lost_s(pid: int) -> float:
    """How long the main thread of that process, and this one, were ready and had no processor."""
    return _loop(pid)[1] + _turns(Path("/proc/self/schedstat"))[1] + _stolen_s()


def _loop(pid: int) -> tuple[float, float]:
    return _turns(Path(f"/proc/{pid}/task/{pid}/schedstat"))


def _stolen_s() -> float:
    """For how long another machine had the processors of this one, where it is a virtual one."""
    try:
        with open("/proc/stat") as stat:
            return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


def _others(pid: int) -> dict[str, tuple[float, float]]:
    """How long each of its other threads that there are now ran, and waited for its turns."""
    with contextlib.suppress(OSError):
        return {
            task: _turns(Path(f"/proc/{pid}/task/{task}/schedstat"))
            for task in os.listdir(f"/proc/{pid}/task")
            if task != str(pid)
        }
    return {}


def _turns(path: Path) -> tuple[float, float]:
    try:
        ran, waited, _ = path.read_text().split()
    except (OSError, ValueError):
        # A kernel that does not count, or a thread that has ended.
        return 0.0, 0.0
    return int(ran) / 1e9, int(waited) / 1e9


def _tell(**what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
