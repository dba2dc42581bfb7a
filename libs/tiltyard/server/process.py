"""One server process: an application made from plain settings, run by uvicorn on a socket it is given.

As `python -m tiltyard.server.process CHANNEL PLACE LISTENERS` it is the child of a supervisor. CHANNEL and LISTENERS
are file descriptors, of which the one at PLACE is its own to serve on: one line of JSON (a `Work`) comes in over the
channel, then `take N` and `leave N`, for the listeners of those that are away; `ready` goes out. The channel's end
means that the supervisor is gone, however that happened.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType
from typing import IO, Any, cast

import msgspec
import uvicorn

from tiltyard.errors import MissingPackage, TiltyardError
from tiltyard.server.connection import Connections
from tiltyard.server.early_stop import SIGNALS, end_when_told
from tiltyard.server.settings import ConnectionTimeouts, Drain
from tiltyard.server.sockets import begin_closing, connected

READY = b"ready\n"
TAKE, LEAVE = b"take", b"leave"
EXIT_GRACE_S = 10.0
# How long those who have begun to connect when the process stops may take for it.
_HANDSHAKE_S = 0.05

# How many objects more than before make a collection of the young ones, and how many collections of the middle
# generation come before one of all that there is.
_YOUNG_OBJECTS = 10_000
_MIDDLE_COLLECTIONS = 1000

_PATIENT = ConnectionTimeouts()


class Work(msgspec.Struct, frozen=True):
    """What a server process does: which application, with which settings, how patiently, and how it stops."""

    name: str
    factory: str
    settings_type: str
    settings: msgspec.Raw
    drain: Drain
    timeouts: ConnectionTimeouts = _PATIENT

    @property
    def stop_within_s(self) -> float:
        """How long after a signal the process has ended by itself."""
        return self.drain.delay_s + self.drain.timeout_s + EXIT_GRACE_S


def work(
    name: str, factory: str, settings: msgspec.Struct, drain: Drain, timeouts: ConnectionTimeouts = _PATIENT
) -> Work:
    """The `Work` of serving `factory(settings)`; `factory` is spelled `module:function`."""
    kind = type(settings)
    encoded = msgspec.json.encode(settings, enc_hook=_encode_path)
    return Work(
        name=name,
        factory=factory,
        settings_type=f"{kind.__module__}:{kind.__qualname__}",
        settings=msgspec.Raw(encoded),
        drain=drain,
        timeouts=timeouts,
    )


def create_app(job: Work) -> Any:
    """The ASGI application of `job`."""
    settings = msgspec.json.decode(job.settings, type=resolve_name(job.settings_type), dec_hook=_decode_path)
    return resolve_name(job.factory)(settings)


def serve(
    job: Work,
    listener: socket.socket,
    *,
    on_ready: Callable[[], object],
    on_made: Callable[["Server"], object] = lambda _server: None,
    others: Mapping[int, socket.socket] = MappingProxyType({}),
) -> int:
    """Serves until SIGTERM or SIGINT, finishes what is in flight and gives the exit status.

    An application with an `asyncio.Event` at `app.state.draining` finds it set as soon as it shall stop: its
    health turns bad and long polls can answer, `drain.delay_s` before the socket closes. `on_made` gets the server
    before it serves; `others` are the listeners of other processes, by their places, that it may be told to take.
    """
    end_when_told()
    # Applications may bring their own logging; this is what is there until they do.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # Of what is imported and built for good nothing is garbage: to look for some takes a tenth of a start.
    gc.disable()
    try:
        app = create_app(job)
    except (TiltyardError, MissingPackage) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        gc.enable()
    server = Server(app, job, on_ready, others)
    on_made(server)
    # What was loaded stays loaded: the collector need not walk through it again and again.
    gc.collect()
    gc.freeze()
    # A full collection stops everybody. With hundreds of requests, or long lists of rows, on their way there would be
    # several a second.
    gc.set_threshold(_YOUNG_OBJECTS, gc.get_threshold()[1], _MIDDLE_COLLECTIONS)
    # uvicorn raises a signal again once it has ended. Handled here, it ends in status 0 and not in 143.
    for sig in SIGNALS:
        signal.signal(sig, server.handle_exit)
    server.run(sockets=[listener])
    return 0


class Server(uvicorn.Server):
    """uvicorn, with word of readiness, a drain that the application knows of, and listeners that come and go."""

    def __init__(
        self, app: Any, job: Work, on_ready: Callable[[], object], others: Mapping[int, socket.socket]
    ) -> None:
        state = getattr(app, "state", None)
        self._connections = Connections(job.timeouts, getattr(state, "direct", None))
        super().__init__(
            uvicorn.Config(
                app,
                # It is called as a class would be.
                http=cast("type[asyncio.Protocol]", self._connections),
                loop="uvloop",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                # Whoever connects from this machine may be anybody: they are nobody's proxy until the operator says so.
                proxy_headers=bool(job.timeouts.trusted_proxies),
                forwarded_allow_ips=list(job.timeouts.trusted_proxies),
                timeout_keep_alive=job.timeouts.keep_alive_s,
                timeout_graceful_shutdown=max(1, round(job.drain.timeout_s)),
            )
        )
        self._draining = getattr(state, "draining", None)
        self._drain_delay_s = job.drain.delay_s
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._others = dict(others)
        self._taken: dict[int, asyncio.Server] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def take(self, place: int) -> None:
        """Serves on the listener of `place` too, until `leave`. From any thread."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._take(place), self._loop)

    def leave(self, place: int) -> None:
        """Ends that; connections go on. From any thread."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._leave(place), self._loop)

    async def _take(self, place: int) -> None:
        if place in self._taken or place not in self._others or self.should_exit:
            return
        taken = await asyncio.get_running_loop().create_server(
            self._connection, sock=self._others[place].dup(), backlog=self.config.backlog
        )
        self._taken[place] = taken
        self.servers.append(taken)

    async def _leave(self, place: int) -> None:
        taken = self._taken.pop(place, None)
        if taken is not None and taken in self.servers:
            self.servers.remove(taken)
            taken.close()

    def _connection(self) -> asyncio.Protocol:
        return self._connections(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._draining is not None:
            self._draining.set()
        if self._drain_delay_s and not self.force_exit:
            await asyncio.sleep(self._drain_delay_s)
        if not self.force_exit:
            await self._stop_listening(sockets or ())
        await super().shutdown(sockets)

    async def _stop_listening(self, own: Sequence[socket.socket]) -> None:
        """Accepts all who have connected by now, and nobody from then on. Each answer is its connection's last."""
        self._connections.arrivals.stop()
        listeners = [*own, *(self._others[place] for place in self._taken)]
        for listener in listeners:
            begin_closing(listener)
        await asyncio.sleep(_HANDSHAKE_S)
        waiting = [connection for listener in listeners for connection in connected(listener)]
        for server in self.servers:
            server.close()
        # A socket lives, and takes connections that nobody answers, for as long as any process has it.
        for other in self._others.values():
            other.close()
        self._others.clear()
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, connection)


class _Orders:
    """What the supervisor says while the process serves, read in a thread."""

    def __init__(self, lines: IO[bytes], stop_within_s: float) -> None:
        self.server: Server | None = None
        self._lines = lines
        self._stop_within_s = stop_within_s

    def follow(self) -> None:
        """Returns never: once the supervisor is gone this process ends, in order if it can, in any case in time."""
        for line in self._lines:
            verb, _, number = line.partition(b" ")
            place, server = int(number), self.server
            if server is None:
                continue
            if verb == TAKE:
                server.take(place)
            else:
                server.leave(place)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(self._stop_within_s)
        os._exit(1)

    def of(self, server: "Server") -> None:
        """From now on they are for `server`."""
        self.server = server


def _encode_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"settings cannot hold a {type(value).__name__}")


def _decode_path(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return kind(value)
    raise TypeError(f"settings cannot hold a {kind.__name__}")


def main(channel_fd: int, place: int, listener_fds: Sequence[int]) -> int:
    """Serves as the child of a supervisor and gives the exit status. A listener that is closed is below 0."""
    # Processes that an application starts must hold neither the port nor the channel open.
    for fd in (channel_fd, *(fd for fd in listener_fds if fd >= 0)):
        os.set_inheritable(fd, False)
    channel = socket.socket(fileno=channel_fd)
    listeners = {number: socket.socket(fileno=fd) for number, fd in enumerate(listener_fds) if fd >= 0}
    lines = channel.makefile("rb")
    job = msgspec.json.decode(lines.readline(), type=Work)
    own = listeners.pop(place)
    orders = _Orders(lines, job.stop_within_s)
    threading.Thread(target=orders.follow, daemon=True).start()
    return serve(job, own, on_ready=lambda: channel.send(READY), on_made=orders.of, others=listeners)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), [int(word) for word in sys.argv[3].split(",")]))
