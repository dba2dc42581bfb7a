"""The README, followed from an empty environment: every block of the installation and the tutorial, as written."""

import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.fixtures.java import SHORT_LIFE
from tests.fixtures.processes import unused_port
from tests.fixtures.waiting import wait_until
from tests.house.readme_session import HOUSE, Block, Command, Session, blocks, commands, path_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WALKED = ("Install", "Tutorial")
BLOCKS = [block for block in blocks((HOUSE / "README.md").read_text()) if block.section in WALKED]
REGISTRY_PORT, SERVING_PORT = unused_port(), unused_port()

# What uv has already is enough when it made the environment of the tests. An index that lets nothing be kept would have
# it fetch Spark's sources, half a gigabyte, and build them each time.
PIP = """#!/bin/sh
command=$1; shift
"{uv}" pip "$command" --offline --constraint "{pinned}" "$@" 2>/dev/null ||
  exec "{uv}" pip "$command" --constraint "{pinned}" "$@"
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A reader with an empty environment, whose pip takes the releases that the lock file names."""
    folder = tmp_path_factory.mktemp("reader")
    environment = folder / "environment"
    uv = _uv()
    _done([uv, "venv", "--no-config", "--python", sys.executable, str(environment)])
    pinned = folder / "pinned.txt"
    with pinned.open("w") as file:
        export = [uv, "export", "--frozen", "--all-extras", "--all-groups", "--no-hashes", "--no-emit-project"]
        subprocess.run(export, cwd=HOUSE, stdout=file, stderr=subprocess.DEVNULL, check=True)
    pip = environment / "bin/pip"
    pip.write_text(PIP.format(uv=uv, pinned=pinned))
    pip.chmod(0o755)
    known = {
        name: value for name, value in os.environ.items() if not name.startswith(("TILTYARD_", "MLFLOW_", "PYTHON"))
    }
    variables = (
        known
        | SHORT_LIFE
        | {
            "PATH": path_of(environment),
            "VIRTUAL_ENV": str(environment),
            "TILTYARD_REGISTRY_LISTEN_PORT": str(REGISTRY_PORT),
            "TILTYARD_SERVING_LISTEN_PORT": str(SERVING_PORT),
            "TILTYARD_SERVING_URL": f"http://127.0.0.1:{SERVING_PORT}",
            "TILTYARD_CACHE_DIR": str(folder / "cache"),
        }
    )
    replaced = {"127.0.0.1:5000": f"127.0.0.1:{REGISTRY_PORT}", "127.0.0.1:5001": f"127.0.0.1:{SERVING_PORT}"}
    (folder / "work").mkdir()
    session = Session(folder / "work", variables, replaced)
    yield session
    session.close()
    shutil.rmtree(environment)


def test_the_tutorial_runs_as_written(session: Session) -> None:
    """Each command ends well and shows what the README shows, each block of Python runs in one session."""
    assert {block.section for block in BLOCKS} == set(WALKED)
    for block in BLOCKS:
        if block.language == "yaml":
            session.write(block.text)
        elif block.language == "python":
            session.python(block.text)
        else:
            assert block.language == "console", block
            for command in commands(block.text):
                _type(session, command)


def test_who_may_do_what_is_set_up_as_written(tmp_path: Path) -> None:
    """The administrator's and the user's commands show what the README shows, on a registry of their own."""
    found = [block for block in blocks((HOUSE / "README.md").read_text()) if block.section == "Who may do what"]
    assert len(found) == 3
    port = unused_port()
    known = {name: value for name, value in os.environ.items() if not name.startswith(("TILTYARD_", "MLFLOW_"))}
    variables = known | {
        "PATH": path_of(Path(sys.prefix)),
        "VIRTUAL_ENV": sys.prefix,
        "TILTYARD_REGISTRY_LISTEN_PORT": str(port),
        "TILTYARD_REGISTRY_URL": f"http://127.0.0.1:{port}",
        "XDG_CONFIG_HOME": str(tmp_path / "configuration"),
    }
    session = Session(tmp_path, variables, {"127.0.0.1:5000": f"127.0.0.1:{port}"})
    try:
        for block in found:
            for command in commands(block.text):
                if command.line.startswith("tiltyard registry"):
                    session.start(command.line)
                    _wait_for(f"http://127.0.0.1:{port}/health", session)
                else:
                    session.shell(command)
    finally:
        session.close()


def _type(session: Session, command: Command) -> None:
    if command.line.startswith("python3 -m venv"):
        # The session has one already.
        return
    if command.line.startswith("pip "):
        session.shell(command, folder=HOUSE)
        _take_compiled(session)
    elif command.line.startswith("tiltyard up"):
        session.start(command.line)
        _wait_for(f"http://127.0.0.1:{REGISTRY_PORT}/health", session)
        _wait_for(f"http://127.0.0.1:{SERVING_PORT}/livez", session)
    else:
        session.shell(command)


def _take_compiled(session: Session) -> None:
    """Gives the reader's packages the bytecode that these tests have already; Python takes none of another source."""
    ours = Path(sysconfig.get_path("purelib"))
    theirs = session.environment / ours.relative_to(sys.prefix)
    for compiled in ours.rglob("__pycache__/*.pyc"):
        place = theirs / compiled.relative_to(ours)
        if place.parent.parent.is_dir() and not place.exists():
            place.parent.mkdir(exist_ok=True)
            try:
                place.hardlink_to(compiled)
            except OSError:  # on another disk
                shutil.copy2(compiled, place)


def _uv() -> str:
    """The uv that made the environment of the tests, so that nothing is built or fetched twice."""
    brought = HOUSE / ".build/uv/bin/uv"
    return str(brought) if brought.exists() else shutil.which("uv") or find_uv_bin()


def _wait_for(url: str, session: Session) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    wait_until(answers, 120, told=lambda: session.services_log)


def _done(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_blocks_and_commands_are_found() -> None:
    """The reader of the README finds blocks by their heading, and commands with their continuation and output."""
    text = "## A\n```console\n$ one \\\n  more\nshown\n$ two\n```\n## B\n```python\nx = 1\n```\n"
    assert list(blocks(text)) == [
        Block("A", "console", "$ one \\\n  more\nshown\n$ two"),
        Block("B", "python", "x = 1"),
    ]
    assert list(commands(next(blocks(text)).text)) == [Command("one \\\n  more", ("shown",)), Command("two", ())]
