"""The README as its reader types it: blocks in their order, in an environment of their own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.fixtures.processes import GuardedProcess
from tests.fixtures.waiting import wait_until

HOUSE = Path(__file__).resolve().parents[2]

# Runs each line of its input, the JSON of a block of Python, in one namespace, as a reader's session does.
_SESSION = """
import json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    failure = None
    try:
        exec(compile(json.loads(line), "README.md", "exec"), names)
    except BaseException:
        failure = traceback.format_exc()
    print("\\0" + json.dumps(failure), flush=True)
"""


class Block(NamedTuple):
    """One fenced block: the heading above it, its language and its text."""

    section: str
    language: str
    text: str


class Command(NamedTuple):
    """A command of a console block, and the lines that the README shows below it."""

    line: str
    shown: tuple[str, ...]


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text, in their order."""
    section, language, lines = "", None, []
    for line in text.splitlines():
        if language is None:
            if line.startswith("#"):
                section = line.lstrip("# ")
            elif line.startswith("```"):
                language, lines = line.removeprefix("```"), []
        elif line.startswith("```"):
            yield Block(section, language, "\n".join(lines))
            language = None
        else:
            lines.append(line)


def commands(text: str) -> Iterator[Command]:
    """The commands of a console block: a line that begins with `$ `, and what a backslash continues it with."""
    line, shown = "", []
    for each in text.splitlines():
        if each.startswith("$ "):
            if line:
                yield Command(line, tuple(shown))
            line, shown = each.removeprefix("$ "), []
        elif line.endswith("\\"):
            line += "\n" + each
        else:
            shown.append(each)
    if line:
        yield Command(line, tuple(shown))


class _Done(NamedTuple):
    output: str

    def shows(self, lines: tuple[str, ...]) -> bool:
        return all(line in self.output for line in lines)


class Session:
    """A reader's shell and their Python session, in one folder and one environment."""

    def __init__(self, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]) -> None:
        """`replaced` are texts of the README and what this machine has instead, such as ports."""
        self._folder = folder
        self._environment = dict(environment)
        self._replaced = replaced
        self._python: subprocess.Popen[str] | None = None
        self._services: list[GuardedProcess] = []

    @property
    def environment(self) -> Path:
        """The folder of the virtual environment."""
        return Path(self._environment["VIRTUAL_ENV"])

    def write(self, text: str) -> None:
        """Writes the file that the block's first line, a comment, names."""
        name = text.splitlines()[0].removeprefix("#").strip()
        assert re.fullmatch(r"[\w.-]+", name), f"the block's first line names no file: {name}"
        (self._folder / name).write_text(self._here(text) + "\n")

    def shell(self, command: Command, *, folder: Path | None = None) -> None:
        """Runs a command to its end; what the README shows of its output has to be in it."""
        line = self._here(command.line)
        if exported := re.fullmatch(r"export (\w+)=(\S+)", line):
            self._environment[exported[1]] = exported[2]
            return
        # A change may take a moment to arrive; whoever reads would ask again.
        done: list[Any] = []

        def shows() -> bool:
            done.append(self._run(line, folder))
            return done[-1].shows(tuple(map(self._here, command.shown)))

        wait_until(shows, told=lambda: f"{line}\nshows not\n{command.shown}\nbut {done[-1]}")

    def _run(self, line: str, folder: Path | None) -> "_Done":
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=folder or self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return _Done(done.stdout)

    def start(self, line: str) -> None:
        """Starts a command that stays, such as a service."""
        with (self._folder / "services.log").open("ab") as log:
            process = GuardedProcess(
                ["bash", "-c", f"exec {self._here(line)}"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._services.append(process)

    @property
    def services_log(self) -> str:
        """What the services wrote."""
        return (self._folder / "services.log").read_text()

    def python(self, text: str) -> None:
        """Runs a block in the Python session."""
        if self._python is None:
            self._python = subprocess.Popen(
                ["python", "-c", _SESSION],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(self._here(text)) + "\n")
        self._python.stdin.flush()
        for line in self._python.stdout:
            head, mark, failure = line.rpartition("\0")
            sys.stdout.write(head)
            if mark:
                assert json.loads(failure) is None, f"{text}\n{json.loads(failure)}"
                return
        raise AssertionError(f"the Python session ended with {self._python.wait()} in\n{text}")

    def close(self) -> None:
        """Ends what is running."""
        if self._python is not None and self._python.stdin is not None:
            self._python.stdin.close()
            self._python.wait(60)
        for service in self._services:
            service.terminate()
        for service in self._services:
            service.wait(60)

    def _here(self, text: str) -> str:
        for written, here in self._replaced.items():
            text = text.replace(written, here)
        return text


def path_of(environment: Path) -> str:
    """A PATH whose first place is the environment's."""
    return f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
