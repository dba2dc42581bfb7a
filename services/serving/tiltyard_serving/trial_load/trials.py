"""Which models are loaded on trial, what came of it, and what is known of it from before."""

import contextlib
import importlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal, NamedTuple

from tiltyard.cache.model_cache import ModelCache
from tiltyard.errors import InternalError, InvalidParameterValue, ModelUnreadable
from tiltyard.pyfunc import MLModel
from tiltyard.pyfunc.flavors import NATIVE
from tiltyard.pyfunc.load_failures.errors import unread
from tiltyard.pyfunc.load_failures.installed_packages import installed_release
from tiltyard_serving.isolation import codec, worker
from tiltyard_serving.isolation.codec import receive
from tiltyard_serving.isolation.process import signal_name
from tiltyard_serving.trial_load import fork_server

# What failed is tried again after so long: it may have been memory that was short.
REFUSED_FOR_S = 600.0

# How long a trial may take, and longer by as much as its files take at that pace. Some damaged files are read without
# end, and meanwhile other loads may have to wait.
TIMEOUT_S = 120.0
READ_BYTES_PER_S = 1 << 20

# What memory it may take beside what is set, by its files.
_TIMES_ITS_FILES = 30

_PASSED = ""

_log = logging.getLogger(__name__)


class _Running(NamedTuple):
    """The fork server, and where it takes requests."""

    process: "subprocess.Popen[bytes]"
    requests: socket.socket


class Trials:
    """Tries models whose files native code reads, once per machine and digest, in children of a fork server.

    That is started at the first trial and kept. Each trial has a child of its own, so one that takes long holds up
    no other. `memory_bytes` is what one may take beside 30 times its files; 0 is no limit.
    """

    def __init__(
        self,
        coerce: Literal["strict", "lenient"],
        *,
        memory_bytes: int = 0,
        timeout_s: float = TIMEOUT_S,
        refused_for_s: float = REFUSED_FOR_S,
    ) -> None:
        self._coerce = coerce
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._refused_for_s = refused_for_s
        self._starting = threading.Lock()
        self._running: _Running | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process of the fork server, if there was a trial."""
        running = self._running
        return None if running is None else running.process.pid

    def check(self, directory: Path, digest: str, cache_dir: Path | None) -> None:
        """Returns if this process may load the model: nothing of it is read by native code, or that was tried.

        What else is wrong with the model, the load tells.

        Args:
            cache_dir: the folder of the cache in which what came of it is noted.

        Raises:
            ModelUnreadable: reading it failed, or ended the process that tried it.
            InternalError: it could not be tried.
        """
        metadata = MLModel.load(directory)
        library = NATIVE.get(metadata.pyfunc["loader_module"])
        if library is None:
            return
        try:
            cache = ModelCache(cache_dir)
        except (OSError, InvalidParameterValue):
            # A directory that somebody names is served where there is no place for a cache.
            refusal = self._tried(directory, metadata, library)
        else:
            refusal = self._noted(directory, metadata, library, cache, digest)
        if refusal:
            raise ModelUnreadable(refusal)

    def close(self) -> None:
        """Ends all trials and their process."""
        self._closed = True
        with self._starting:
            self._end()

    def _noted(self, directory: Path, metadata: MLModel, library: str, cache: ModelCache, digest: str) -> str | None:
        """What `_tried` gives, or gave."""
        # What a trial is worth anything for: the releases that read the model then.
        releases = ", ".join(f"{name} {installed_release(name)}" for name in (library, "treelite", "tiltyard"))
        note = cache.trial(digest)
        if self._read(note, releases) == _PASSED:
            return _PASSED
        with cache.trying(digest):
            # Another process may have tried it meanwhile.
            refusal = self._read(note, releases)
            if refusal is None:
                refusal = self._tried(directory, metadata, library)
                if refusal is not None:
                    _write(note, releases, refusal)
        return refusal

    def _read(self, note: Path, releases: str) -> str | None:
        """What came of the last trial by these releases, as `_tried` says it; None if there is none to go by."""
        try:
            tried_by, _, refusal = note.read_text(encoding="utf-8").partition("\n")
            age_s = time.time() - note.stat().st_mtime
        except (OSError, ValueError):
            return None
        if tried_by != releases or (refusal and age_s > self._refused_for_s):
            return None
        return refusal

    def _tried(self, directory: Path, metadata: MLModel, library: str) -> str | None:
        """Why the model cannot be loaded; empty if it can, None if that has nothing to do with what the library reads.

        Raises: InternalError, as `check`.
        """
        began_s = time.monotonic()
        size_bytes = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        memory_bytes = self._memory_bytes and self._memory_bytes + size_bytes * _TIMES_ITS_FILES
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._send([str(directory), library, self._coerce, memory_bytes], theirs)
            with contextlib.suppress(ImportError):
                # Meanwhile, as this process will want it too.
                importlib.import_module(library)
            timeout_s = self._timeout_s + size_bytes / READ_BYTES_PER_S
            ours.settimeout(timeout_s)
            try:
                _, outcome, *content = codec.decode(receive(ours))
            except TimeoutError:
                return unread(directory, metadata, f"{library} still read it after {timeout_s:.0f} s").message
            except (EOFError, OSError):
                raise InternalError("The process in which models are loaded on trial has ended.") from None
        took_s = time.monotonic() - began_s
        if outcome == worker.OK:
            _log.info("a trial load with %s took %.2f s", library, took_s)
            return _PASSED
        most = f"up to {memory_bytes} bytes of memory (--trial-load-bytes)" if memory_bytes else "any memory"
        _log.info("a trial load with %s failed after %.2f s; it might take %s", library, took_s, most)
        if outcome == fork_server.ENDED:
            (status,) = content
            code = os.waitstatus_to_exitcode(status)
            how = signal_name(-code) if code < 0 else f"status {code}"
            return unread(directory, metadata, f"{library} ended its process ({how})").message
        kind, message, _ = content
        # A library that finds a fault may say so or end the process, by which of its threads comes upon it: this
        # process does not try its luck. All else it will find for itself, and say as it always does.
        return str(message) if kind == ModelUnreadable.__name__ else None

    def _send(self, request: list[str | int], answers: socket.socket) -> None:
        with self._starting:
            if self._closed:
                raise InternalError("The server is being stopped.")
            if self._running is None or self._running.process.poll() is not None:
                self._end()
                self._running = _started()
            socket.send_fds(self._running.requests, [codec.encode(request)], [answers.fileno()])

    def _end(self) -> None:
        """Ends the fork server, and by that its children."""
        if self._running is not None:
            process, requests = self._running
            self._running = None
            requests.close()
            process.kill()
            process.wait()


def _started() -> _Running:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            [sys.executable, "-P", "-m", fork_server.__name__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            # What a library prints is for the log.
            stdout=2,
            pass_fds=(theirs.fileno(),),
            # A Ctrl-C reaches the server alone; then this process sees that it is gone.
            process_group=0,
        )
    return _Running(process, ours)


def _write(note: Path, releases: str, refusal: str) -> None:
    # Whole or not at all.
    partial = note.with_suffix(f".{os.getpid()}")
    try:
        partial.write_text(f"{releases}\n{refusal}", encoding="utf-8")
        partial.rename(note)
    except OSError as error:
        # A full disk, for one. It will be tried again.
        _log.warning("what came of a trial load cannot be noted", exc_info=error)
