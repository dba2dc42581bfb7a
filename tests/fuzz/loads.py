"""Hostile model directories before a loader: in a process of its own, and in the scoring service by the registry."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

from tests.fuzz.model_directories import spoil
from tests.serving.http_calls import request
from tests.serving.test_following import register
from tiltyard.client import Client
from tiltyard.errors import TiltyardError

LOAD_TIMEOUT_S = 60.0

# Reads one path a line, and says of each what came of loading it. What is of ours is refused in words.
_CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from tiltyard import pyfunc
from tiltyard.errors import TiltyardError
print("ready", flush=True)
for line in sys.stdin:
    try:
        pyfunc.load(line.rstrip("\\n"))
        said = "loaded"
    except TiltyardError as error:
        said = f"refused {type(error).__name__}"
    except Exception as error:
        said = f"raised {type(error).__name__}: {str(error)[:200]!r}"
    except BaseException as error:
        said = f"ended {type(error).__name__}"
    print(said, flush=True)
"""


class Directories:
    """Hostile model directories, made of the good ones of a folder."""

    def __init__(self, good: Path, folder: Path) -> None:
        self._good = good
        self._folder = folder

    def hostile(self, rng: Random) -> tuple[Path, str]:
        """The next one, which takes the place of the one before, and the file that is wrong with it."""
        path = self._folder / "hostile"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(rng.choice(sorted(self._good.iterdir())), path)
        return path, spoil(rng, path)


class Child:
    """A process that loads what it is told, started anew when one ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def load(self, path: Path) -> str:
        """What came of it: 'loaded', 'refused …', 'raised …', or 'crashed …' when the process is gone."""
        process = self._process or self._started()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        said = process.stdout.readline().strip()
        if said:
            return said
        self._process = None
        return f"crashed {process.wait()}"

    def close(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.communicate()

    def _started(self) -> "subprocess.Popen[str]":
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process


def serve(client: Client, port: int, path: Path, name: str) -> tuple[int, str]:
    """The status and the message when a hostile directory, registered as a version, is put behind an endpoint."""
    try:
        version = register(client, path, name)
    except TiltyardError as error:
        return 400, error.message
    body = json.dumps({"served_entities": [{"model": f"models:/{name}/{version}", "traffic_percentage": 100}]})
    answer = request(port, "PUT", "/api/tiltyard/v1/endpoints/hostile", body, {"content-type": "application/json"}, 120)
    return answer.status, answer.body[:300].decode(errors="replace")
