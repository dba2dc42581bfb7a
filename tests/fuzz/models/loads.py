"""Hostile model directories before a loader: in a process of its own, and in the scoring service by the registry."""

import json
import select
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz.models import loader
from tests.fuzz.models.model_directories import Spoiled, spoil
from tests.serving.http_calls import request
from tests.serving.models.test_following import register
from tiltyard.client import Client
from tiltyard.errors import TiltyardError

LOAD_TIMEOUT_S = 120.0
# What a load may take at its peak: so many times its files, besides what the libraries of a flavor take when they are
# imported, and what is read before a bound is met.
MAX_TIMES_ITS_FILES = 30
FREE_BYTES = 400 << 20


class Loaded(NamedTuple):
    """What came of a load, and by how much the process grew at its peak."""

    said: str
    grown_bytes: int = 0


class Directories:
    """Hostile model directories, made of the good ones of some folders."""

    def __init__(self, folder: Path, *good: Path) -> None:
        self._good = sorted(path for parent in good for path in parent.iterdir())
        self._folder = folder

    def hostile(self, number: int, rng: Random) -> tuple[Path, Spoiled]:
        """The one of that number, which takes the place of the one before, and what is wrong with it."""
        path = self._folder / "hostile"
        shutil.rmtree(path, ignore_errors=True)
        # One after the other, so that few are enough to have been at each.
        shutil.copytree(self._good[number % len(self._good)], path)
        return path, spoil(rng, path)


class Child:
    """A process that loads what it is told, started anew when one ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def load(self, path: Path) -> Loaded:
        """What came of it; `crashed` when the process is gone, `stuck` when there is no end of it."""
        process = self._process or self._started()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], LOAD_TIMEOUT_S)[0]:
            process.kill()
            process.wait()
            self._process = None
            return Loaded(f"stuck for {LOAD_TIMEOUT_S:g} s")
        line = process.stdout.readline()
        if line:
            return Loaded(**json.loads(line))
        self._process = None
        return Loaded(f"crashed {process.wait()}")

    def close(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.communicate()

    def _started(self) -> "subprocess.Popen[str]":
        self._process = process = subprocess.Popen(
            [sys.executable, str(Path(loader.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process


def size_bytes(path: Path) -> int:
    """The size of all files of a directory."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def serve(client: Client, port: int, path: Path, name: str) -> tuple[int, str]:
    """The status and the message when a hostile directory, registered as a version, is put behind an endpoint."""
    try:
        version = register(client, path, name)
    except TiltyardError as error:
        return 400, error.message
    body = json.dumps({"served_entities": [{"model": f"models:/{name}/{version}", "traffic_percentage": 100}]})
    headers = {"content-type": "application/json"}
    answer = request(port, "PUT", "/api/tiltyard/v1/endpoints/hostile", body, headers, LOAD_TIMEOUT_S)
    return answer.status, answer.body[:300].decode(errors="replace")
