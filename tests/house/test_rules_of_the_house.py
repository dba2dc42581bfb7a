"""What holds for every file: small, safe, and about the product alone."""

import ast
import re
from pathlib import Path

import pytest

from tests.fixtures.order import APART, TOGETHER
from tests.house.test_imports import ROOT, modules

MAX_LINES = 400
MAX_TEST_LINES = 600
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base"}
CODE = [file for _, file in modules()]
# What a migration did is history: it spells out the whole schema and is not edited again.
HISTORY = ROOT / "services/registry/tiltyard_registry/store/migrations/versions"
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def shown(file: Path) -> str:
    """The file as a reader of the repository names it."""
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize(
    ("files", "limit"),
    [([file for file in CODE if file.parent != HISTORY], MAX_LINES), (TESTS, MAX_TEST_LINES)],
    ids=["code", "tests"],
)
def test_no_file_holds_two_nouns(files: list[Path], limit: int) -> None:
    """No file is longer than 400 lines, no file of tests than 600."""
    assert {shown(file) for file in files if len(file.read_text().splitlines()) > limit} == set()


def test_every_name_says_something() -> None:
    """No module is named for being a drawer."""
    assert {shown(file) for file in CODE if {*file.with_suffix("").parts} & EMPTY_NAMES} == set()


def calls(file: Path) -> list[ast.Call]:
    """Every call in a file."""
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]


def test_no_command_goes_through_a_shell() -> None:
    """No process is started with `shell=True`, `os.system` or `os.popen`."""
    found = {
        f"{shown(file)}:{call.lineno}"
        for file in CODE
        for call in calls(file)
        if any(word.arg == "shell" for word in call.keywords)
        or ast.unparse(call.func) in {"os.system", "os.popen", "subprocess.getoutput"}
    }
    assert found == set()


def test_every_test_says_what_it_shows() -> None:
    """Each test has a docstring that states the behaviour."""
    silent = {
        f"{shown(file)}::{node.name}"
        for file in TESTS
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    }
    assert silent == set()


def test_every_public_module_says_what_it_holds() -> None:
    """Each module of the product opens with a docstring."""
    assert {shown(file) for file in CODE if not ast.get_docstring(ast.parse(file.read_text()))} == set()


def test_no_path_of_a_machine_is_written_down() -> None:
    """No file names a home folder or a workplace of whoever wrote it."""
    places = re.compile(r"(?<![\w.}])/(?:root|home/\w+|work|Users/\w+)/")
    assert {shown(file) for file in CODE + TESTS if places.search(file.read_text())} == set()


def test_the_order_of_the_suite_names_files_that_are_there() -> None:
    """What runs together, or apart, is named by its path."""
    assert {file for file in {*TOGETHER, *APART} if not (ROOT / file).is_file()} == set()
