"""The process of one model: loads it, and answers what the server asks, one request after the other.

It imports numpy, pandas and the model's packages from its own environment, and of the server only the library
that reads models.
"""

import os
import resource
import select
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidModelInput, MissingPackage, TiltyardError
from tiltyard.pyfunc import PyFunc, load
from tiltyard_serving.isolation import codec
from tiltyard_serving.isolation.codec import receive, send

OK, FAILED = "ok", "failed"
# The number of the first message, which says that the model is loaded.
LOADED = 0


def main(directory: str, fd: str, memory_bytes: str) -> int:
    """Serves the model in `directory` over the socket `fd` until the server is gone, and gives the exit status.

    Args:
        memory_bytes: how much memory of its own the process may have; 0 is no limit.
    """
    connection = socket.socket(fileno=int(fd))
    connection.set_inheritable(False)
    # A child that the model's code forks must not hold the socket, nor answer in this process's place.
    os.register_at_fork(after_in_child=connection.close)
    own_pid = os.getpid()
    # A Ctrl-C is the server's to deal with.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_server, args=(connection,), daemon=True).start()
    if limit := int(memory_bytes):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    model: PyFunc | None = None

    def loaded() -> dict[str, Any]:
        nonlocal model
        model = load(Path(directory), alone=True)
        return {"row_wise": model.row_wise, "takes_params": model.takes_params}

    def tell(answer: bytes) -> None:
        if os.getpid() != own_pid:
            os._exit(0)
        send(connection, answer)

    tell(outcome_of(LOADED, loaded))
    if model is None:
        return 1
    served = model
    while True:
        try:
            number, verb, *arguments = codec.decode(receive(connection))
        except (EOFError, ConnectionError):
            return 0
        tell(outcome_of(number, lambda: _VERBS[verb](served, *arguments)))  # noqa: B023 - called at once


def _take_shortcut(model: PyFunc, example: Any, compiled: bool) -> dict[str, Any]:
    model.take_shortcut(example, compiled=compiled)
    shortcut = model.shortcut
    return {"taken": False} if shortcut is None else {"taken": True, "key": shortcut.key, "trees": shortcut.trees}


_VERBS: dict[str, Callable[..., Any]] = {"predict": PyFunc.predict_enforced, "take_shortcut": _take_shortcut}


def outcome_of(number: int, work: Callable[[], Any]) -> bytes:
    """What came of `work`, as the message `number`: its value, or what it raised, which ends nothing."""
    try:
        return codec.encode([number, OK, work()])
    except BaseException as error:
        # A message of ours may be shown to callers; the rest is for the server's log.
        shown = error.message if isinstance(error, TiltyardError) else None
        if isinstance(error, MissingPackage):
            shown = str(error)
        kind = InvalidModelInput if isinstance(error, InvalidModelInput) else type(error)
        # Of what is said whole in the message there is nothing to trace.
        trace = "" if shown and error.__cause__ is None else "".join(traceback.format_exception(error))
        return codec.encode([number, FAILED, kind.__name__, shown, trace])


def _end_with_server(connection: socket.socket) -> None:
    """Ends the process once the server is gone, whatever the model is doing."""
    poll = select.poll()
    poll.register(connection, getattr(select, "POLLRDHUP", 0))
    while not poll.poll():
        pass
    os._exit(0)
