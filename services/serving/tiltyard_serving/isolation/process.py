"""Keeps the process of one model running: starts it, asks it, starts it again after it has died."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tiltyard.errors import DeadlineExceeded, InternalError, TemporarilyUnavailable, TiltyardError
from tiltyard.pyfunc import MLModel
from tiltyard.pyfunc.flavors import NATIVE
from tiltyard.pyfunc.load_failures.errors import unread
from tiltyard_serving.isolation.environment import Environment
from tiltyard_serving.isolation.running_process import RunningProcess

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
START_TIMEOUT_S = 600.0

_log = logging.getLogger(__name__)


class ProcessState(NamedTuple):
    """How a model's process is: `running` or `restarting`, how often it was started again, and how it last ended."""

    state: str
    pid: int | None
    restarts: int
    last_end: str | None
    environment: str


# What happens to a process: it has its model loaded, it has ended because it should, it has ended otherwise.
Event = Literal["started", "ended", "died"]


class Limits(NamedTuple):
    """Bounds of a process: memory of its own, and seconds of one prediction; None is no bound."""

    memory_bytes: int | None
    predict_s: float | None


class Process:
    """One model's process. A call fails at once while there is none; a dead one is started again, with pauses."""

    def __init__(
        self,
        name: str,
        directory: Callable[[], Path],
        environment: Environment,
        limits: Limits,
        observe: Callable[[Event], object] = lambda _event: None,
    ) -> None:
        """Starts it, and returns once the model is loaded there.

        Args:
            directory: gives the model's directory, verified; asked before every start.
            observe: told what happens to it.

        Raises:
            InvalidParameterValue: the model cannot be loaded; says why. ModelUnreadable if native code that read it
                ended its process.
            InternalError: its process ended before it was.
        """
        self._name = name
        self._directory = directory
        self._environment = environment
        self._limits = limits
        self._observe = observe
        self._calling = threading.Lock()
        self._ending = threading.Event()
        # None while it is restarting.
        self._running: RunningProcess | None = None
        self._restarts = 0
        self._last_end: str | None = None
        self._overdue = False
        self._again_at_s = 0.0
        # What was arranged with the process, arranged with each that takes its place.
        self._arranged: list[list[Any]] = []
        self.facts: dict[str, Any] = {}
        running = self._start()
        # A daemon: it must not keep the server from ending.
        threading.Thread(target=self._keep, args=(running,), name=f"keep {name}", daemon=True).start()

    @property
    def state(self) -> ProcessState:
        """How it is now."""
        running = self._running
        pid = None if running is None else running.popen.pid
        state = "restarting" if running is None else "running"
        return ProcessState(state, pid, self._restarts, self._last_end, self._environment.name)

    def call(self, verb: str, *arguments: Any) -> Any:
        """What the process answers.

        Raises:
            ModelRaised: the model did; the class has the name of what it raised.
            TemporarilyUnavailable: the process has ended and is not back yet.
            InternalError: it ended before it had answered, or ran out of memory.
            DeadlineExceeded: it was ended, because one prediction took too long.
        """
        with self._calling:
            running = self._running
            if running is None:
                wait_s = max(1, math.ceil(self._again_at_s - time.monotonic()))
                raise TemporarilyUnavailable(
                    f"The process of the model {self._name} is being restarted.", retry_after_s=wait_s
                )
            try:
                return running.ask([verb, *arguments])
            except TimeoutError:
                self._overdue = True
                self._kill(running)
                raise DeadlineExceeded(
                    f"A prediction of the model {self._name} was ended after {self._limits.predict_s:g} s."
                ) from None
            except (EOFError, OSError):
                self._kill(running)
                raise InternalError(f"The process of the model {self._name} ended before it had answered.") from None

    def arrange(self, verb: str, *arguments: Any) -> Any:
        """The same, done again in each process that takes the place of this one. Raises: as `call`."""
        answer = self.call(verb, *arguments)
        self._arranged.append([verb, *arguments])
        return answer

    def close(self) -> None:
        """Ends it for good. Nobody waits for an answer any more."""
        self._ending.set()
        if (running := self._running) is not None:
            self._kill(running)

    def _kill(self, running: RunningProcess) -> None:
        """Ends this process, which must not be asked again; the one that follows it is left alone."""
        if self._running is running:
            self._running = None
        running.kill()

    # --- The thread that keeps it running ---------------------------------------------------------------

    def _keep(self, running: RunningProcess) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            began_s = time.monotonic()
            status = running.popen.wait()
            self._running = None
            running.hang_up()
            asked = self._ending.is_set()
            self._observe("ended" if asked else "died")
            if asked:
                return
            self._last_end = self._why(status)
            if time.monotonic() - began_s > STEADY_AFTER_S:
                pause_s = FIRST_PAUSE_S
            while (again := self._started_again(pause_s)) is None:
                if self._ending.is_set():
                    return
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
            running = again
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _started_again(self, pause_s: float) -> RunningProcess | None:
        _log.warning("the process of %s %s; it is started again in %.1f s", self._name, self._last_end, pause_s)
        self._again_at_s = time.monotonic() + pause_s
        if self._ending.wait(pause_s):
            return None
        self._restarts += 1
        try:
            running = self._start()
        except Exception as error:
            self._last_end = f"could not be started: {getattr(error, 'message', None) or type(error).__name__}"
            return None
        if self._ending.is_set():
            self._kill(running)
        return running

    def _why(self, status: int) -> str:
        if self._overdue:
            self._overdue = False
            return "was ended: a prediction took too long"
        if status < 0:
            return f"was ended by {signal_name(-status)}"
        return f"ended by itself with status {status}"

    def _unloaded(self, status: int) -> TiltyardError:
        """Why the process ended before its model was loaded: what native code reads is to blame if that ended it."""
        directory, why = self._directory(), self._why(status)
        metadata = MLModel.load(directory)
        if status < 0 and (library := NATIVE.get(metadata.pyfunc["loader_module"])):
            return unread(directory, metadata, f"the process in which {library} read it {why}")
        return InternalError(f"The model's process {why} before the model was loaded.")

    def _start(self) -> RunningProcess:
        """A process with its model loaded, and everything arranged with it."""
        running = RunningProcess(self._environment.python, self._directory(), self._limits.memory_bytes)
        try:
            running.connection.settimeout(START_TIMEOUT_S)
            self.facts = running.answer()
            for message in self._arranged:
                running.ask(message)
        except (EOFError, OSError):
            raise self._unloaded(running.end()) from None
        except BaseException:
            running.end()
            raise
        running.connection.settimeout(self._limits.predict_s)
        self._running = running
        self._observe("started")
        return running


def signal_name(number: int) -> str:
    """What the system calls a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        # A real-time signal has no name.
        return f"signal {number}"
