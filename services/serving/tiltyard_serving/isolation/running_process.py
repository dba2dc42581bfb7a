"""One process of a model, from its start to its end, and the conversation with it."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import tiltyard
import tiltyard_serving
from tiltyard.errors import InternalError, InvalidModelInput, InvalidParameterValue, ModelUnreadable, TiltyardError
from tiltyard_serving.isolation import codec, start, worker
from tiltyard_serving.isolation.codec import receive, send

# These are for the server's Python, and mean nothing to another one or mislead it.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PROMETHEUS_MULTIPROC_DIR")

# What the process says of the model, by the name of its class; anything else of ours is the mildest of them.
_REFUSALS: dict[str, type[TiltyardError]] = {kind.__name__: kind for kind in (InvalidModelInput, ModelUnreadable)}


class ModelRaised(Exception):
    """The model's own code raised in its process. The text is the traceback there, for the log alone."""


class RunningProcess:
    """One process, and its end of the conversation. What is asked is numbered, and so is what answers it."""

    def __init__(self, python: Path, directory: Path, memory_bytes: int | None) -> None:
        """Starts it by that interpreter. It loads the model in the directory first of all, and says so by `answer`."""
        self.connection, theirs = socket.socketpair()
        with theirs:
            self.popen = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
                [
                    *(str(python), "-P", start.__file__),
                    *(str(Path(str(package.__file__)).parent) for package in (tiltyard, tiltyard_serving)),
                    *("--", str(directory), str(theirs.fileno()), str(memory_bytes or 0)),
                ],
                stdin=subprocess.DEVNULL,
                # What a model prints is for the log.
                stdout=2,
                pass_fds=(theirs.fileno(),),
                env={name: value for name, value in os.environ.items() if name not in _NOT_INHERITED},
                # A Ctrl-C reaches the server alone, which then ends it.
                process_group=0,
            )
        self._number = worker.LOADED

    def ask(self, message: list[Any]) -> Any:
        """What it answers to the message."""
        self._number += 1
        send(self.connection, codec.encode([self._number, *message]))
        return self.answer()

    def answer(self) -> Any:
        """What it answers to what was asked last; anything else that comes is nobody's."""
        while True:
            number, outcome, *content = codec.decode(receive(self.connection))
            if number == self._number:
                return _value(outcome, content)

    def hang_up(self) -> None:
        """Ends the conversation: whoever waits for an answer knows at once, even while a child of it lives."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.popen.kill()

    def end(self) -> int:
        """Ends it, and gives the status with which it did."""
        self.connection.close()
        self.popen.kill()
        return self.popen.wait()


def _value(outcome: str, content: list[Any]) -> Any:
    if outcome == worker.OK:
        return content[0]
    kind, message, trace = content
    if message is not None:
        refusal = _REFUSALS.get(kind, InvalidParameterValue)(message)
        raise refusal from (ModelRaised(trace) if trace else None)
    if kind == "MemoryError":
        raise InternalError("The model needs more memory than its process may have.")
    # Reports name the class: that of the model's own exception, as if it had been raised here.
    raise type(kind, (ModelRaised,), {})(trace)
