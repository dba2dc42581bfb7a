"""The process in whose children models are loaded on trial: it has the libraries imported, so a trial is a fork.

It runs with the server's own Python and ends with the server, and so do its children. Each request comes with a socket
of its own; on it the child says what came of the load, and the fork server how the child ended. Who closes his end of
it, has the child ended.
"""

import contextlib
import ctypes
import importlib
import logging
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tiltyard.pyfunc import load
from tiltyard_serving.isolation import codec
from tiltyard_serving.isolation.codec import send
from tiltyard_serving.isolation.worker import LOADED, outcome_of
from tiltyard_serving.warm_up.generated_rows import generated
from tiltyard_serving.warm_up.warm_up import warm_up

# How the child ended: the message has its wait status.
ENDED = "ended"
MAX_REQUEST_BYTES = 65536

# Of the libraries that read models, what they import by the way.
_BESIDE = {"lightgbm": ("treelite",), "xgboost": ("treelite",)}
_PR_SET_PDEATHSIG = 1
_WORST_OOM_SCORE = "1000"
# Libraries start a thread per processor, and each takes a stack, be it used or not.
_BYTES_PER_THREAD = 16 << 20


class Request(NamedTuple):
    """What to load, the library that will read it, the server's setting `coerce`, and what memory it may take.

    `memory_bytes` is what its process may take beside what the libraries have taken; 0 is no limit.
    """

    directory: str
    library: str
    coerce: Any
    memory_bytes: int


class ForkServer:
    """Answers the requests that come over `connection`, until its other end is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._children: dict[int, socket.socket] = {}
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        # A child that ends wakes the poll.
        self._woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        self._poll.register(self._woken, select.POLLIN)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # A Ctrl-C is the server's to deal with.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> None:
        """Returns once the server is gone; its children are ended by then."""
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._woken.fileno():
                    self._woken.recv(4096)
                    self._reap()
                elif fd != self._connection.fileno():
                    self._end(fd)
                elif not self._accept():
                    for pid in self._children:
                        os.kill(pid, signal.SIGKILL)
                    return

    def _accept(self) -> bool:
        message, fds, _, _ = socket.recv_fds(self._connection, MAX_REQUEST_BYTES, 1)
        if not message:
            return False
        answers = socket.socket(fileno=fds[0])
        request = Request(*codec.decode(bytearray(message)))
        for library in (request.library, *_BESIDE.get(request.library, ())):
            # What is missing, the load itself tells.
            with contextlib.suppress(ImportError):
                importlib.import_module(library)
        own_pid = os.getpid()
        pid = os.fork()
        if not pid:
            self._become_child(own_pid)
            _take_at_most(request.memory_bytes)
            _try(request, answers)
        self._children[pid] = answers
        # Nothing is sent to it: it can only be closed.
        self._poll.register(answers, select.POLLIN)
        return True

    def _become_child(self, parent_pid: int) -> None:
        """Leaves behind what is the fork server's, and makes sure to end with it, and before anything else does."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for inherited in (self._connection, self._woken, self._wakes, *self._children.values()):
            inherited.close()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            # When memory runs out, this process goes and not the server.
            Path("/proc/self/oom_score_adj").write_text(_WORST_OOM_SCORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if os.getppid() != parent_pid:
            os._exit(0)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            answers = self._children.pop(pid)
            with contextlib.suppress(KeyError):
                self._poll.unregister(answers)
            with contextlib.suppress(OSError):
                send(answers, codec.encode([LOADED, ENDED, status]))
            answers.close()

    def _end(self, fd: int) -> None:
        """Ends the child whose answer nobody waits for any more."""
        for pid, answers in self._children.items():
            if answers.fileno() == fd:
                os.kill(pid, signal.SIGKILL)
                self._poll.unregister(fd)


def _take_at_most(memory_bytes: int) -> None:
    """Bounds what this process may take from now on.

    A few damaged bytes may name a size of gigabytes, which a library takes before it reads on.
    """
    if not memory_bytes:
        return
    with contextlib.suppress(OSError, StopIteration):
        # What the limit counts: memory of its own that may be written to. Only Linux tells.
        lines = Path("/proc/self/status").read_text().splitlines()
        taken = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        limit = taken + memory_bytes + (os.cpu_count() or 1) * _BYTES_PER_THREAD
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _try(request: Request, answers: socket.socket) -> None:
    """Loads the model, predicts generated rows, then what a server predicts before traffic; says what came of it."""

    def loaded() -> None:
        directory = Path(request.directory)
        model = load(directory)
        for payloads in generated(model):
            # What it does not answer is no matter, as long as it is there to say so.
            with contextlib.suppress(Exception):
                model.predict_enforced(model.to_input(payloads), None)
        warm_up(model, directory, request.coerce, compiled=True)

    try:
        send(answers, outcome_of(LOADED, loaded))
    finally:
        # What the server's process set up to be done at its end is not this one's to do.
        os._exit(0)


def main(fd: str) -> None:
    """Runs the fork server over the socket `fd`."""
    connection = socket.socket(fileno=int(fd))
    connection.set_inheritable(False)
    # The server's own load tells the same again.
    logging.disable()
    ForkServer(connection).run()
    # Nothing is left to be tidied up, which takes long with large libraries.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
