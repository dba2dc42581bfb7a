"""Server processes under one parent: they share a port, a dead one is replaced, a signal ends all in order.

    parent ── binds the sockets, starts the workers, serves nothing itself
      ├── worker 1   its own SO_REUSEPORT socket, a channel to the parent
      └── worker N

The parent keeps its copy of each socket open, and each worker has one of every other's: while one is away, those
that are there take the connections that the kernel goes on giving to it. A worker sees the end of its channel when
the parent dies, even by kill -9, and ends as well.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from tiltyard.server.early_stop import SIGNALS
from tiltyard.server.process import LEAVE, READY, TAKE, serve
from tiltyard.server.service_pool import ServicePool

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
STEADY_AFTER_S = 10.0

_log = logging.getLogger("tiltyard.workers")


def run(pools: Sequence[ServicePool], *, on_ready: Callable[[], object]) -> int:
    """Serves until SIGTERM or SIGINT and gives the exit status: 0 after an orderly end.

    `on_ready` is called once, when every service takes connections. One service with one worker runs in this process.
    """
    if len(pools) == 1 and len(pools[0].listeners) == 1:
        return serve(pools[0].job, pools[0].listeners[0], on_ready=on_ready)
    try:
        return asyncio.run(_supervise(pools, on_ready))
    finally:
        for pool in pools:
            pool.close()


async def _supervise(pools: Sequence[ServicePool], on_ready: Callable[[], object]) -> int:
    return await _Supervisor(pools, on_ready).run()


class _Supervisor:
    """Starts the pools in their order, each when the one before it is ready, and stops them in reverse."""

    def __init__(self, pools: Sequence[ServicePool], on_ready: Callable[[], object]) -> None:
        self._pools = pools
        self._slots = [_slots(pool) for pool in pools]
        self._on_ready = on_ready
        self._stop = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for sig in SIGNALS:
            loop.add_signal_handler(sig, self._signalled)
        in_order = await self._serve_until_told()
        for pool, slots in reversed(list(zip(self._pools, self._slots, strict=True))):
            pool.let_go()
            ended = await asyncio.gather(*(place.end() for place in slots))
            in_order = in_order and all(ended)
        return 0 if in_order else 1

    async def _serve_until_told(self) -> bool:
        """True once a signal came; False when a worker could not start, which has said why by itself."""
        told: asyncio.Future[bool] = asyncio.create_task(self._told())
        for slots in self._slots:
            for place in slots:
                place.start()
            for place in slots:
                waiting: list[asyncio.Future[bool]] = [told, place.ready]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if told.done():
                    return True
                if not place.ready.result():
                    told.cancel()
                    return False
        self._on_ready()
        await told
        return True

    async def _told(self) -> bool:
        return await self._stop.wait()

    def _signalled(self) -> None:
        """The first signal ends the workers in order, a second one at once."""
        if self._stop.is_set():
            for place in (place for slots in self._slots for place in slots):
                place.kill()
        self._stop.set()


def _slots(pool: ServicePool) -> list["_WorkerSlot"]:
    slots: list[_WorkerSlot] = []
    slots.extend(_WorkerSlot(pool, number, slots) for number in range(len(pool.listeners)))
    return slots


class _WorkerSlot:
    """One worker's place: a socket, and the process that serves on it now."""

    def __init__(self, pool: ServicePool, number: int, slots: Sequence["_WorkerSlot"]) -> None:
        """`slots` are all of the pool, once they are made."""
        self._pool = pool
        self._number = number
        self._slots = slots
        # What the worker hears, while it is ready; and the sockets that it was given.
        self._channel: asyncio.StreamWriter | None = None
        self._inherited: list[socket.socket] = []
        self._process: asyncio.subprocess.Process | None = None
        self._was_ready = False
        self._ending = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        # Whether the first worker became ready. It stays open until that is known.
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        """Starts a worker, and from now on keeps one running."""
        self._keeping = asyncio.create_task(self._keep())

    async def end(self) -> bool:
        """Ends the worker with SIGTERM, after its time with SIGKILL. Whether it ended in order."""
        self._ending.set()
        if self._keeping is None:
            return True
        self._signal(signal.SIGTERM)
        await asyncio.wait([self._keeping], timeout=self._pool.job.stop_within_s)
        self.kill()
        await self._keeping
        # One that has not begun to serve may be told to stop before it can listen to that.
        in_order = (0,) if self._was_ready else (0, -signal.SIGTERM)
        return self._process is None or self._process.returncode in in_order

    def kill(self) -> None:
        """Ends the worker at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, sig: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(sig)

    async def _keep(self) -> None:
        pause_s = 0.0
        while not self._ending.is_set():
            started = time.monotonic()
            try:
                was_ready = await self._run_one()
            except OSError as error:
                _log.error("%s: no worker could be started: %s", self._pool.job.name, error)
                was_ready = False
            if not self.ready.done():
                return self.ready.set_result(False)
            if self._ending.is_set():
                return None
            if not was_ready and not self._is_taken():
                # Nobody will come for the callers in this socket's queue soon: let them go to the others.
                self._pool.listeners[self._number].close()
            steady = time.monotonic() - started > STEADY_AFTER_S
            pause_s = 0.0 if steady else min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, pause_s * 2))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause_s)
        return None

    async def _run_one(self) -> bool:
        """Whether the worker had been ready, once it has ended."""
        pool = self._pool
        pool.listener(self._number)
        self._was_ready = False
        self._inherited = list(pool.listeners)
        fds = [listener.fileno() for listener in self._inherited]
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tiltyard.server.process",
                str(theirs.fileno()),
                str(self._number),
                ",".join(map(str, fds)),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *(fd for fd in fds if fd >= 0)),
                env=pool.environment,
                # A Ctrl-C reaches the parent alone, which then ends its workers in order.
                process_group=0,
            )
        if self._ending.is_set():
            process.terminate()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            writer.write(msgspec.json.encode(pool.job) + b"\n")
            self._was_ready = await _first_line(reader) == READY
            if self._was_ready:
                self._begin(writer)
            await process.wait()
        finally:
            self._channel = None
            writer.close()
        self._is_taken()
        pool.forget(process.pid)
        if not self._ending.is_set():
            _log.warning("%s: worker %d ended with status %s", pool.job.name, process.pid, process.returncode)
        return self._was_ready

    def _begin(self, channel: asyncio.StreamWriter) -> None:
        """The worker is ready: it takes over from those who took its connections, and takes those of who is away."""
        self._channel = channel
        for place in self._slots:
            place.tell(LEAVE, self._number)
            if place._channel is None:
                self.tell(TAKE, place._number)
        if not self.ready.done():
            self.ready.set_result(True)

    def _is_taken(self) -> bool:
        """Whether others now take the connections of this place; tells them to."""
        told = [place.tell(TAKE, self._number) for place in self._slots]
        return any(told)

    def tell(self, verb: bytes, number: int) -> bool:
        """Tells the worker, if it is there, what to do with another's socket, if it has that."""
        channel, place = self._channel, self._slots[number]
        if channel is None or place is self or self._inherited[number] is not self._pool.listeners[number]:
            return False
        channel.write(b"%b %d\n" % (verb, number))
        return True


async def _first_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ConnectionError:
        return b""
