"""The program that watches one service from a process of its own: `probe.py PORT PID`, until its input ends.

It asks /livez again and again, and writes a JSON object a line: `began_s`, `ended_s` and `stall_s` of each answer that
took long, `failure` when none came, and now and then `memory_bytes` with `at_s`. All times are of the monotonic clock.

What counts as a stall is the time without an answer, less the time that the event loop and this program waited for
their turns on a processor: on a busy machine everybody waits, and who waits for its turn has not stalled. `turns_s` is
how long any other thread of the service waited at most: if it was that one that kept the loop from its turn, by a lock
that it held, the stall was shorter by so much.
"""

import contextlib
import http.client
import json
import os
import select
import sys
import time
from pathlib import Path

import psutil

EACH_S = 0.02
MEMORY_EACH_S = 0.25
LIVE_TIMEOUT_S = 60.0
# Shorter ones are not worth a line.
TOLD_S = 0.05


def main(port: int, pid: int) -> None:
    """Watches until the standard input ends."""
    # Before the services in turn, where that is allowed: what is measured is them.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    next_memory_s = 0.0
    while not select.select([sys.stdin], [], [], EACH_S)[0]:
        began_s, turns_s, others_s = time.monotonic(), _waited_for_turn_s(pid), _others_waited_s(pid)
        try:
            failure = ask(port)
        except (OSError, http.client.HTTPException) as error:
            failure = repr(error)
        ended_s = time.monotonic()
        stall_s = ended_s - began_s - (_waited_for_turn_s(pid) - turns_s)
        if failure is not None:
            _tell(failure=failure, at_s=began_s)
            time.sleep(0.5)
        elif ended_s - began_s > TOLD_S:
            others = _others_waited_s(pid).items()
            most_s = max((waited_s - others_s.get(thread, 0.0) for thread, waited_s in others), default=0.0)
            _tell(began_s=began_s, ended_s=ended_s, stall_s=max(0.0, stall_s), turns_s=most_s)
        if ended_s > next_memory_s:
            _tell(memory_bytes=memory_bytes(pid), at_s=ended_s)
            next_memory_s = ended_s + MEMORY_EACH_S


def ask(port: int) -> str | None:
    """What is wrong with the answer of /livez, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIVE_TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        response = connection.getresponse()
        response.read()
        return None if response.status == 200 else f"status {response.status}"
    finally:
        connection.close()


def memory_bytes(pid: int) -> int:
    """The resident memory of a process and of its children."""
    found = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += one.memory_info().rss
    return found


def _waited_for_turn_s(pid: int) -> float:
    """How long the main thread of that process, and this one, were ready and had no processor."""
    return _turns_s(Path(f"/proc/{pid}/task/{pid}/schedstat")) + _turns_s(Path("/proc/self/schedstat"))


def _others_waited_s(pid: int) -> dict[str, float]:
    """The same of each of its other threads that there are now."""
    with contextlib.suppress(OSError):
        return {task: _turns_s(Path(f"/proc/{pid}/task/{task}/schedstat")) for task in _tasks(pid)}
    return {}


def _tasks(pid: int) -> list[str]:
    return [task for task in os.listdir(f"/proc/{pid}/task") if task != str(pid)]


def _turns_s(path: Path) -> float:
    try:
        return int(path.read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        # A kernel that does not count.
        return 0.0


def _tell(**what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
