"""The law of imports, read off the syntax trees: who may know whom. A room not in the table is not allowed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "tiltyard": ROOT / "libs/tiltyard",
    "tiltyard_registry": ROOT / "services/registry/tiltyard_registry",
    "tiltyard_serving": ROOT / "services/serving/tiltyard_serving",
}

# Each room and the rooms that it may import. `*` at the end stands for all rooms of a package.
LAW: dict[str, str] = {
    "tiltyard": "tiltyard.*",
    "tiltyard.errors": "",
    "tiltyard.names": "tiltyard.errors",
    "tiltyard.uri": "tiltyard.errors tiltyard.names",
    "tiltyard.wire": "",
    "tiltyard.client": "tiltyard.errors tiltyard.wire",
    "tiltyard.storage": "tiltyard.errors tiltyard.uri",
    "tiltyard.java": "tiltyard.errors",
    "tiltyard.pyfunc": "tiltyard.errors tiltyard.java tiltyard.uri",
    "tiltyard.models": "tiltyard.errors tiltyard.names tiltyard.uri tiltyard.wire tiltyard.client "
    "tiltyard.storage tiltyard.pyfunc",
    "tiltyard.spark": "tiltyard.errors tiltyard.java tiltyard.uri tiltyard.wire tiltyard.pyfunc tiltyard.client "
    "tiltyard.storage tiltyard.models",
    "tiltyard.application": "",
    "tiltyard.server": "tiltyard.errors",
    "tiltyard.telemetry": "",
    "tiltyard.cli": "tiltyard tiltyard.* tiltyard_registry.settings tiltyard_registry.store "
    "tiltyard_registry.importing tiltyard_registry.gc tiltyard_registry.rules tiltyard_serving.settings",
    "tiltyard_registry": "",
    "tiltyard_registry.columns": "",
    "tiltyard_registry.tables": "tiltyard_registry.columns",
    "tiltyard_registry.settings": "tiltyard.errors tiltyard.telemetry",
    "tiltyard_registry.logs": "tiltyard.telemetry",
    "tiltyard_registry.telemetry": "tiltyard_registry.logs",
    "tiltyard_registry.rules": "tiltyard.errors tiltyard.names",
    "tiltyard_registry.search": "tiltyard.errors tiltyard.names tiltyard_registry.tables",
    "tiltyard_registry.store": "tiltyard.errors tiltyard.names tiltyard.uri tiltyard.storage "
    "tiltyard_registry.rules tiltyard_registry.search tiltyard_registry.tables",
    "tiltyard_registry.gc": "tiltyard.errors tiltyard.storage tiltyard_registry.rules tiltyard_registry.store "
    "tiltyard_registry.tables",
    "tiltyard_registry.importing": "tiltyard.errors tiltyard.names tiltyard.uri tiltyard.storage "
    "tiltyard_registry.rules tiltyard_registry.store tiltyard_registry.tables",
    "tiltyard_registry.auth": "tiltyard.errors tiltyard_registry.rules tiltyard_registry.store",
    "tiltyard_registry.api": "tiltyard.errors tiltyard.names tiltyard.uri tiltyard.wire tiltyard.storage "
    "tiltyard.server "
    "tiltyard_registry.settings tiltyard_registry.rules tiltyard_registry.search tiltyard_registry.store "
    "tiltyard_registry.auth",
    "tiltyard_registry.console": "tiltyard.errors tiltyard_registry.store tiltyard_registry.auth",
    "tiltyard_registry.app": "tiltyard.* tiltyard_registry.*",
    "tiltyard_serving": "",
    "tiltyard_serving.settings": "tiltyard.errors tiltyard.pyfunc tiltyard.telemetry",
    "tiltyard_serving.batch": "",
    "tiltyard_serving.pace": "",
    "tiltyard_serving.batcher": "tiltyard.errors tiltyard_serving.batch tiltyard_serving.pace",
    "tiltyard_serving.openmp": "",
    "tiltyard_serving.telemetry": "",
    "tiltyard_serving.meter": "tiltyard_serving.batch tiltyard_serving.telemetry",
    "tiltyard_serving.logs": "tiltyard.telemetry",
    "tiltyard_serving.redaction": "",
    "tiltyard_serving.payload_log": "tiltyard.errors tiltyard.storage tiltyard_serving.redaction",
    "tiltyard_serving.slot": "tiltyard.errors",
    "tiltyard_serving.entities": "tiltyard.errors tiltyard.names tiltyard.uri tiltyard_serving.settings",
    "tiltyard_serving.answers": "",
    "tiltyard_serving.layout": "",
    "tiltyard_serving.generated_rows": "tiltyard.errors tiltyard.pyfunc",
    "tiltyard_serving.row_proof": "tiltyard.pyfunc tiltyard_serving.answers tiltyard_serving.layout "
    "tiltyard_serving.generated_rows",
    "tiltyard_serving.warm_up": "tiltyard.errors tiltyard.pyfunc tiltyard_serving.layout tiltyard_serving.row_proof",
    # Its worker runs without the server: what it imports must be there with numpy, pandas and msgspec alone.
    "tiltyard_serving.isolation": "tiltyard tiltyard.errors tiltyard.uri tiltyard.pyfunc tiltyard.storage "
    "tiltyard_serving",
    # What it forks loads and warms a model as the server does.
    "tiltyard_serving.trial_load": "tiltyard.errors tiltyard.pyfunc tiltyard.storage tiltyard_serving.isolation "
    "tiltyard_serving.generated_rows tiltyard_serving.warm_up",
    "tiltyard_serving.model": "tiltyard.errors tiltyard.pyfunc tiltyard_serving.batch tiltyard_serving.batcher "
    "tiltyard_serving.meter tiltyard_serving.isolation tiltyard_serving.layout tiltyard_serving.memory "
    "tiltyard_serving.openmp",
    "tiltyard_serving.loading": "tiltyard.errors tiltyard.uri tiltyard.pyfunc tiltyard.models tiltyard.storage "
    "tiltyard_serving.isolation tiltyard_serving.settings tiltyard_serving.telemetry tiltyard_serving.meter "
    "tiltyard_serving.openmp "
    "tiltyard_serving.batch "
    "tiltyard_serving.memory "
    "tiltyard_serving.model "
    "tiltyard_serving.trial_load "
    "tiltyard_serving.warm_up",
    "tiltyard_serving.trial": "tiltyard.errors tiltyard_serving.model",
    "tiltyard_serving.served": "tiltyard.errors tiltyard_serving.slot tiltyard_serving.model tiltyard_serving.memory "
    "tiltyard_serving.loading tiltyard_serving.telemetry tiltyard_serving.trial",
    "tiltyard_serving.shadow": "tiltyard.pyfunc tiltyard.uri tiltyard_serving.answers tiltyard_serving.model "
    "tiltyard_serving.served tiltyard_serving.telemetry",
    "tiltyard_serving.endpoint_config": "tiltyard.errors tiltyard.uri tiltyard_serving.entities "
    "tiltyard_serving.settings",
    "tiltyard_serving.endpoint": "tiltyard.uri tiltyard_serving.endpoint_config tiltyard_serving.served "
    "tiltyard_serving.shadow tiltyard_serving.telemetry",
    "tiltyard_serving.watcher": "tiltyard.errors tiltyard.uri tiltyard.wire tiltyard.client "
    "tiltyard_serving.settings tiltyard_serving.telemetry tiltyard_serving.loading",
    "tiltyard_serving.memory": "tiltyard.pyfunc",
    "tiltyard_serving.supply": "tiltyard.errors tiltyard.uri tiltyard_serving.settings tiltyard_serving.telemetry "
    "tiltyard_serving.entities tiltyard_serving.loading tiltyard_serving.served tiltyard_serving.watcher",
    "tiltyard_serving.on_demand": "tiltyard.errors tiltyard.uri tiltyard_serving.settings tiltyard_serving.telemetry "
    "tiltyard_serving.entities tiltyard_serving.served tiltyard_serving.supply",
    "tiltyard_serving.shared_endpoints": "tiltyard_serving.endpoint_config",
    "tiltyard_serving.endpoints": "tiltyard.errors tiltyard.uri tiltyard.client tiltyard_serving.settings "
    "tiltyard_serving.telemetry tiltyard_serving.entities tiltyard_serving.on_demand tiltyard_serving.served "
    "tiltyard_serving.supply tiltyard_serving.endpoint tiltyard_serving.endpoint_config tiltyard_serving.shadow "
    "tiltyard_serving.shared_endpoints",
    "tiltyard_serving.tensors": "tiltyard.errors tiltyard.pyfunc",
    "tiltyard_serving.open_inference": "tiltyard.errors tiltyard.pyfunc tiltyard_serving.tensors",
    "tiltyard_serving.api": "tiltyard.errors tiltyard.names tiltyard.uri tiltyard.pyfunc tiltyard.server "
    "tiltyard_serving.settings tiltyard_serving.tensors "
    "tiltyard_serving.telemetry tiltyard_serving.endpoints tiltyard_serving.model tiltyard_serving.served "
    "tiltyard_serving.endpoint tiltyard_serving.endpoint_config tiltyard_serving.shadow tiltyard_serving.trial "
    "tiltyard_serving.open_inference tiltyard_serving.batch tiltyard_serving.payload_log "
    "tiltyard_serving.shared_endpoints tiltyard_serving.memory",
    "tiltyard_serving.app": "tiltyard.* tiltyard_serving.*",
}

# Packages of others that a room must do without, because it is to stay pure, light or safe.
FORBIDDEN: dict[str, set[str]] = {
    "tiltyard.wire": {"httpx2", "litestar", "sqlalchemy"},
    "tiltyard.server": {"litestar", "numpy"},
    "tiltyard_registry.rules": {"sqlalchemy", "litestar", "msgspec", "asyncio", "time", "datetime"},
    "tiltyard_registry.store": {"litestar"},
    "tiltyard_registry.search": {"litestar"},
    "tiltyard_registry": {"pickle", "cloudpickle", "numpy", "pandas", "sklearn", "skops", "mlflow", "pyspark"},
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module: its dotted name and its file."""
    for package, folder in PACKAGES.items():
        for file in sorted(folder.rglob("*.py")):
            words = [package, *file.relative_to(folder).with_suffix("").parts]
            yield ".".join(words[:-1] if words[-1] == "__init__" else words), file


def imported(file: Path) -> Iterator[str]:
    """The dotted names that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides which room is meant"
            # `from package import room` names a room; `from package.room import thing` does too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """The room that a dotted name lies in: the package and one word."""
    package, *rest = name.split(".")
    folder = PACKAGES[package]
    known = rest and ((folder / rest[0]).is_dir() or (folder / f"{rest[0]}.py").is_file())
    return f"{package}.{rest[0]}" if known else package


def may(importer: str, imported_room: str) -> bool:
    """Whether the law lets one room import the other."""
    package = imported_room.split(".", maxsplit=1)[0]
    allowed = LAW.get(importer, "").split()
    return importer == imported_room or imported_room in allowed or f"{package}.*" in allowed


def test_every_import_is_one_that_the_law_allows() -> None:
    """No room knows another that it may not know; the services never meet."""
    broken = {
        f"{module}: {name}"
        for module, file in modules()
        for name in imported(file)
        if name.split(".")[0] in PACKAGES and not may(room(module), room(name))
    }
    assert not broken, "\n".join(sorted(broken))


def test_every_room_has_its_line_in_the_law() -> None:
    """A new room says whom it may import before it imports anybody."""
    assert {room(module) for module, _ in modules()} - set(LAW) == set()


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
