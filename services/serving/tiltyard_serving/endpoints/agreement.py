"""The endpoints as callers have changed them, the same in all worker processes of a service.

endpoints.json    every change since the service began: replaced as a whole, never written into
lock              held by the one process that changes it
workers/…         which change a worker has; its lock is held as long as that process lives

A worker that takes another's place reads the file when it starts. The kernel lets go of the locks of the dead.
"""

import asyncio
import fcntl
import os
import time
import uuid
from pathlib import Path

import msgspec
from filelock import AsyncFileLock

from tiltyard_serving.endpoints.config import EndpointConfig

LOOK_S = 0.05
_RECORD_BYTES = 4096
_LOGGED = "The reason is in the log."


class Changes(msgspec.Struct, frozen=True):
    """What is different from the start: configurations by name, None for an endpoint that was ended.

    `number` grows with each change.
    """

    number: int = 0
    endpoints: dict[str, EndpointConfig | None] = {}


class Progress(msgspec.Struct, frozen=True):
    """The last change that a worker has looked at, and why it could not make some its own, by endpoint."""

    number: int
    problems: dict[str, str] = {}


class Agreement(msgspec.Struct, frozen=True):
    """How many workers there are, how many of them have a change, and what keeps the others from it."""

    workers: int = 1
    changed: int = 1
    problems: list[str] = []


class SharedEndpoints:
    """One worker's view of the shared folder."""

    def __init__(self, folder: Path) -> None:
        """Makes this process known as a worker, which has made no change its own yet."""
        self._file = folder / "endpoints.json"
        self._warm = folder / "warm"
        self._lock = folder / "lock"
        self._workers = folder / "workers"
        self._workers.mkdir(mode=0o700, exist_ok=True)
        # Locked before others can see it: a worker whose file can be locked is dead.
        name = f"{os.getpid()}-{uuid.uuid4().hex}"
        hidden = folder / name
        self._own = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._own, fcntl.LOCK_EX)
        self.report(Progress(-1))
        hidden.rename(self._workers / name)

    @property
    def warm(self) -> bool:
        """Whether a worker of this service has been ready before."""
        return self._warm.exists()

    def set_warm(self) -> None:
        """Says that one is."""
        self._warm.touch()

    def read(self) -> Changes:
        """All changes so far."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Changes)
        except FileNotFoundError:
            return Changes()

    def stamp(self) -> tuple[int, int] | None:
        """Something that is different after each change, and costs little to look at."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def turn(self) -> AsyncFileLock:
        """Holds all others off making a change, for an `async with`."""
        return AsyncFileLock(self._lock, mode=0o600, run_in_executor=False)

    def publish(self, name: str, config: EndpointConfig | None) -> Changes:
        """Makes a change known to all; only in one's `turn`."""
        before = self.read()
        after = Changes(before.number + 1, before.endpoints | {name: config})
        new = self._file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(after))
        new.rename(self._file)
        return after

    def report(self, progress: Progress) -> None:
        """Says how far this worker is."""
        record = msgspec.json.encode(progress)
        if len(record) > _RECORD_BYTES:
            record = msgspec.json.encode(Progress(progress.number, dict.fromkeys(progress.problems, _LOGGED)))
        if len(record) > _RECORD_BYTES:
            # Too many to be told apart: then it has none.
            record = msgspec.json.encode(Progress(-1))
        # One write of one size: a reader gets the one record or the other.
        os.pwrite(self._own, record.ljust(_RECORD_BYTES), 0)

    async def agreement(self, name: str, number: int, timeout_s: float) -> Agreement:
        """How the workers stand to change `number`, which is of the endpoint `name`: once all have it, or too late."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            progress = self._progress()
            changed = sum(worker.number >= number and name not in worker.problems for worker in progress)
            if changed == len(progress) or time.monotonic() > deadline_s:
                problems = [worker.problems[name] for worker in progress if name in worker.problems]
                return Agreement(len(progress), changed, problems)
            await asyncio.sleep(LOOK_S)

    def _progress(self) -> list[Progress]:
        """How far each living worker is, this one among them."""
        found = []
        for path in self._workers.iterdir():
            try:
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            except BlockingIOError:
                found.append(msgspec.json.decode(os.pread(file, _RECORD_BYTES, 0), type=Progress))
            finally:
                os.close(file)
        return found

    def close(self) -> None:
        """Ends being a worker."""
        os.close(self._own)
