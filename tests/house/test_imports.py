"""The law of imports, read off the syntax trees: who may know whom. A room not in the table is not allowed."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.house.law import FORBIDDEN, LAW

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "tiltyard": ROOT / "libs/tiltyard",
    "tiltyard_registry": ROOT / "services/registry/tiltyard_registry",
    "tiltyard_serving": ROOT / "services/serving/tiltyard_serving",
}


@cache
def modules() -> tuple[tuple[str, Path], ...]:
    """Every module: its dotted name and its file."""
    found = []
    for package, folder in PACKAGES.items():
        for file in sorted(folder.rglob("*.py")):
            words = [package, *file.relative_to(folder).with_suffix("").parts]
            found.append((".".join(words[:-1] if words[-1] == "__init__" else words), file))
    return tuple(found)


@cache
def imported(file: Path) -> tuple[str, ...]:
    """The dotted names that a file imports, wherever in it the import stands."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides which room is meant"
            # `from package import room` names a room; `from package.room import thing` does too.
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


def room(name: str) -> str:
    """The room that a module or what is taken from it lies in: the longest name of the law that fits."""
    words = name.split(".")
    return next(known for count in range(len(words), 0, -1) if (known := ".".join(words[:count])) in LAW)


def may(importer: str, name: str) -> bool:
    """Whether the law lets a room import what has that name."""
    if name in PACKAGES or room(name) == importer:
        return True
    return any(f"{name}.".startswith(f"{allowed}.") for allowed in LAW[importer])


def test_every_import_is_one_that_the_law_allows() -> None:
    """No room knows another that it may not know; the services never meet."""
    broken = {
        f"{module}: {name}"
        for module, file in modules()
        for name in imported(file)
        if name.split(".")[0] in PACKAGES and not may(room(module), name)
    }
    assert not broken, "\n".join(sorted(broken))


def test_every_room_has_its_line_in_the_law() -> None:
    """A new folder or file says whom it may import before it imports anybody."""
    packages = set(PACKAGES)
    assert {module for module, _ in modules() if room(module) in packages} == packages
    assert {line for line in LAW if not list_of(line)} == set(), "lines of rooms that are not there"


def list_of(line: str) -> list[str]:
    """The modules of a room."""
    return [module for module, _ in modules() if f"{module}.".startswith(f"{line}.")]


@cache
def arrows() -> dict[str, set[str]]:
    """Each file and the files that it imports, also those that it imports for its types alone."""
    known = {module for module, _ in modules()}
    found: dict[str, set[str]] = {}
    for module, file in modules():
        into = (name if name in known else name.rpartition(".")[0] for name in imported(file))
        found[module] = {name for name in into if name in known and name != module}
    return found


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of nodes of which each leads to each."""
    reached = {node: reachable(graph, node) for node in graph}
    groups = {frozenset(other for other in reached[node] if node in reached[other]) for node in graph}
    return sorted(sorted(group) for group in groups if group)


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """The nodes that one leads to, itself if it leads back."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = graph.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return found


def test_no_two_files_know_each_other() -> None:
    """No file imports, however far around, one that imports it."""
    # What a package hands on is imported when it is asked for.
    lazy = {"tiltyard", "tiltyard.pyfunc", "tiltyard.spark"}
    graph = {module: into - lazy for module, into in arrows().items() if module not in lazy}
    assert circles(graph) == []


def test_no_two_rooms_of_a_folder_know_each_other() -> None:
    """No folder's files import, however far around, those of a folder beside it that imports them."""
    found = []
    for folder in sorted({module.rpartition(".")[0] for module, _ in modules()}):
        rooms: dict[str, set[str]] = {}
        for module, into in arrows().items():
            if (here := room_below(folder, module)) is not None:
                others = {there for name in into if (there := room_below(folder, name)) not in (None, here)}
                rooms.setdefault(here, set()).update(others)
        found += circles(rooms)
    assert found == []


def room_below(folder: str, module: str) -> str | None:
    """Which file or folder right below a folder a module belongs to."""
    if not folder or not module.startswith(f"{folder}."):
        return None
    return f"{folder}.{module.removeprefix(f'{folder}.').split('.')[0]}"


def test_a_room_has_at_most_fourteen_modules() -> None:
    """A folder is a room and not a corridor, of the product and of its tests."""
    files = [*(file for _, file in modules()), *(ROOT / "tests").rglob("*.py")]
    sizes = Counter(file.parent for file in files if file.stem != "__init__")
    assert {
        str(folder.relative_to(ROOT)): n for folder, n in sizes.items() if n > 14 and folder.name != "versions"
    } == {}


def test_rooms_do_without_what_would_make_them_impure_heavy_or_unsafe() -> None:
    """Rules know no clock and no database, the store no web framework, the registry neither pickle nor models."""
    broken = {
        f"{module}: {name}"
        for module, file in modules()
        for name in imported(file)
        for forbidden in (FORBIDDEN.get(room(module), set()), FORBIDDEN.get(module.split(".")[0], set()))
        if name.split(".")[0] in forbidden
    }
    assert broken == set()


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that are loaded after `statement` in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


ML = {"numpy", "pandas", "pyarrow", "sklearn", "skops", "scipy", "cloudpickle", "pyspark", "mlflow", "torch"}


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import tiltyard", ML | {"litestar", "uvicorn", "sqlalchemy", "httpx2", "obstore", "click"}),
        ("import tiltyard.client", ML | {"litestar", "uvicorn", "sqlalchemy"}),
        ("import tiltyard_registry.app", ML),
        ("import tiltyard_serving.app", {"sqlalchemy", "mlflow", "pyspark", "torch"}),
    ],
)
def test_an_import_loads_no_more_than_it_needs(statement: str, heavy: set[str]) -> None:
    """The client is light, the registry loads no ML framework, serving no database and no MLflow."""
    assert loaded_by(statement) & heavy == set()


def test_importing_the_library_loads_little() -> None:
    """`import tiltyard` brings fewer modules than one look at its help would: those of the library are a handful."""
    before, after = loaded_by("pass"), loaded_by("import tiltyard")
    assert before <= after
    assert len({name for name in after if name.partition(".")[0] == "tiltyard"}) < 10
    assert len(after - before) < 60


@pytest.mark.bench
def test_importing_the_library_takes_less_than_150_ms() -> None:
    """The best of several fresh interpreters imports `tiltyard` in under 0.15 s."""
    code = "import time; t = time.perf_counter(); import tiltyard; print(time.perf_counter() - t)"
    times_s = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    assert min(times_s) < 0.15


@pytest.mark.parametrize(
    "package", ["tiltyard", "tiltyard.client", "tiltyard.models", "tiltyard.pyfunc", "tiltyard.spark"]
)
def test_a_public_name_is_what_it_says_however_often_it_is_imported(package: str) -> None:
    """No public function or class shares its name with a module, which would take its place once it is loaded."""
    code = (
        f"import importlib, types, {package} as package\n"
        "for _ in range(2):\n"
        "    for name in package.__all__:\n"
        "        value = getattr(importlib.import_module(package.__name__), name)\n"
        "        if isinstance(value, types.ModuleType) and name not in ('output', 'payload', 'spark'):\n"
        "            print(name)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == ""


def test_only_doors_ask_for_permission() -> None:
    """`store.access` is named below `store/` alone: handlers, fast routes and loops decide nothing."""
    asking = {module for module, file in modules() if "tiltyard_registry.store.access" in imported(file)}
    assert asking
    assert {module for module in asking if not module.startswith("tiltyard_registry.store.")} == set()
