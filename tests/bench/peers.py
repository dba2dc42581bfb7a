"""The servers that scoring is measured with, one worker each, as their users start them."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.bench.serving import mlserver
from tests.fixtures.processes import unused_port

READY_TIMEOUT_S = 120.0


class Server:
    """One server on a port of its own, with what its start took."""

    def __init__(self, *arguments: str, ready: str, log: Path, path: str = "/invocations") -> None:
        """`path` is where it is asked for predictions; without a program, `arguments` are those of this Python."""
        self.path = path
        self.port = unused_port()
        began_s = time.perf_counter()
        with log.open("ab") as output:
            command = [*([sys.executable] if arguments[0] == "-m" else []), *arguments, str(self.port)]
            # MLflow starts uvicorn by name.
            programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"PATH": programs}
            )
        self._wait(ready, began_s + READY_TIMEOUT_S)
        self.start_s = time.perf_counter() - began_s

    @property
    def pid(self) -> int:
        """The root of its processes."""
        return self._process.pid

    @property
    def resident_mb(self) -> float:
        """Memory of its processes."""
        process = psutil.Process(self._process.pid)
        return float(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 2**20)

    def stop(self) -> None:
        """Ends it and what it started."""
        process = psutil.Process(self._process.pid)
        for one in [*process.children(recursive=True), process]:
            one.kill()
        self._process.wait()

    def _wait(self, path: str, until_s: float) -> None:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5):
                    return
            except (OSError, urllib.error.URLError):
                assert self._process.poll() is None, "the server ended"
                assert time.perf_counter() < until_s, "the server is not ready in time"
                time.sleep(0.02)


@contextmanager
def servers(model: Path, folder: Path, *kinds: str) -> Iterator[dict[str, Server]]:
    """The servers of these kinds for one model."""
    commands = {
        "ours": (("-m", "tiltyard.cli", "serving", "--model", str(model), "--port"), "/health"),
        "mlflow": (
            ("-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "-w", "1", "-p"),
            "/ping",
        ),
        "constant": (("-m", "tests.bench.serving.constant"), "/"),
    }
    started: dict[str, Server] = {}
    try:
        for kind in kinds:
            log = folder / f"{kind}.log"
            if kind == "mlserver":
                command = mlserver.command(folder / "mlserver")
                started[kind] = Server(*command, ready=mlserver.READY, log=log, path=mlserver.PATH)
            else:
                arguments, ready = commands[kind]
                started[kind] = Server(*arguments, ready=ready, log=log)
        yield started
    finally:
        for server in started.values():
            server.stop()
