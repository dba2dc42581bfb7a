"""The suite tells the truth on a busy machine: it waits for events, asserts no speed, and uses public doors."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.house.test_imports import ROOT

FOLDER = ROOT / "tests"
# What measures is no test: the bench, and the program that sends hostile requests for hours.
MEASURES = (FOLDER / "bench", FOLDER / "fuzz")
FILES = [file for file in sorted(FOLDER.rglob("*.py")) if not any(file.is_relative_to(place) for place in MEASURES)]

CLOCKS = {"time.monotonic", "time.perf_counter", "time.monotonic_ns", "time.perf_counter_ns"}
# A duration may be asserted to stay below so much: nothing takes as long, however busy the machine is.
GENEROUS_S = 10.0

SLEEPS = {
    "fixtures/waiting.py::wait_until": "the one door",
    "fixtures/waiting.py::until": "the one door",
    "fixtures/waiting.py::send_in_pieces": "a slow caller",
    "cache/test_model_cache.py::CountingSource.read": "a slow source",
    "registry/api/mlflow/test_acknowledged_points.py::Writer._log": "load: a client that comes again",
    "registry/api/mlflow/test_acknowledged_points.py::_written": "load: for how long it is written",
    "registry/cli/test_gc.py::test_a_writer_beside_it_never_waits_long.write": "load: a writer's pace",
    "server/tiny.py::App.answer": "a slow handler",
    "serving/batching/test_batcher.py::Doubler.predict": "a slow model",
    "serving/endpoints/test_endpoints.py::test_nobody_waits_for_the_shadow.predict": "a model that waits for a file",
    "serving/saved_models.py::obedient.predict": "a slow model, and one that waits for a file",
    "serving/soak.py::Soak._call": "load: callers at a steady rate",
    "serving/soak.py::Soak._leave": "load: callers who leave early",
    "serving/test_soak.py::test_nobody_notices_a_bad_day.promote": "load: promotions at a steady rate",
    "spark/deployments.py::crashing_once.crash": "until it is killed",
    "spark/jobs/test_mishaps.py::waiting_for.hold": "in a process of Spark's, for a file",
}
"""Where something pauses, and why that decides no assertion."""

DURATIONS = {
    "cli/test_services.py::test_an_alias_look_up_over_a_kept_connection_waits_for_no_timer": (
        "the quickest quarter: the floor would be under nearly all"
    ),
    "server/test_workers.py::test_a_kept_connection_has_no_delayed_ack_floor": (
        "the quickest quarter: the floor would be under nearly all"
    ),
}
"""Where a duration is asserted, and why a busy machine meets the bound."""

PRIVATE = {
    "environments/test_build.py": 1,
    "names/test_model_yaml.py": 2,
    "registry/api/framework/test_body_cost.py": 2,
    "registry/api/layers/test_fast_writes.py": 2,
    "registry/store/sql/test_outages.py": 3,
    "server/test_settings.py": 1,
    "serving/endpoints/test_agreement.py": 2,
    "serving/endpoints/test_many_models.py": 4,
    "serving/operations/test_memory.py": 1,
    "serving/trial_load/test_trial_load.py": 2,
}
"""How often a file names what is private to the product. It only ever becomes less."""

FOREIGN = {
    "_NumberRangeBase": "click",
    "_active_experiment_id": "MLflow",
    "_asdict": "named tuples",
    "_buckets": "prometheus_client",
    "_convert_to_asymmetric_representation": "CatBoost",
    "_exit": "os",
    "_get_registry_client": "MLflow",
    "_is_pyfunc": "MLflow",
    "_jdf": "PySpark",
    "_mgr": "pandas",
    "_predictors": "scikit-learn",
    "_replace": "named tuples",
    "_sum": "prometheus_client",
    "_tracking_client": "MLflow",
    "_tree": "scikit-learn",
    "_upper_bounds": "prometheus_client",
    "_value": "prometheus_client",
}
"""Names that begin with an underscore and are not the product's."""


class Place(NamedTuple):
    """A part of the syntax, and in which function of which file it is."""

    file: str
    inside: tuple[str, ...]
    function: ast.AST | None
    node: ast.AST

    @property
    def name(self) -> str:
        return f"{self.file}::{'.'.join(self.inside)}"


def places(file: Path) -> Iterator[Place]:
    """All parts of a file's syntax."""
    shown = str(file.relative_to(FOLDER))

    def below(node: ast.AST, inside: tuple[str, ...], function: ast.AST | None) -> Iterator[Place]:
        for child in ast.iter_child_nodes(node):
            yield Place(shown, inside, function, child)
            if isinstance(child, ast.ClassDef):
                yield from below(child, (*inside, child.name), function)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from below(child, (*inside, child.name), child)
            else:
                yield from below(child, inside, function)

    yield from below(ast.parse(file.read_text()), (), None)


def test_nothing_waits_but_at_the_one_door() -> None:
    """No test sleeps for a time: `wait_until` and `until` wait for what is so; what pauses is listed."""
    found = {
        place.name
        for file in FILES
        for place in places(file)
        if isinstance(place.node, ast.Call)
        and ast.unparse(place.node.func) in {"time.sleep", "asyncio.sleep", "sleep"}
        # A turn of the event loop takes no time.
        and not (isinstance(place.node.args[0], ast.Constant) and place.node.args[0].value == 0)
    }
    assert found == SLEEPS.keys()


def parts_of(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is below it; of something that is a number of bytes nothing is a time."""
    yield node
    if not (isinstance(node, ast.Attribute) and node.attr.endswith("_bytes")):
        for child in ast.iter_child_nodes(node):
            yield from parts_of(child)


def tells_time(node: ast.AST, names: set[str], clocks: set[str]) -> bool:
    """Whether a clock, or a variable of these names, is part of an expression."""
    return any(
        (isinstance(part, ast.Call) and ast.unparse(part.func) in clocks)
        or (isinstance(part, ast.Name) and part.id in names)
        for part in parts_of(node)
    )


def timed(function: ast.AST, clocks: set[str]) -> set[str]:
    """The variables of a function that hold times or durations of this machine, however they were passed on."""
    names: set[str] = set()
    while True:
        before = len(names)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
                value, targets = node.value, node.targets if isinstance(node, ast.Assign) else [node.target]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".append"):
                value, targets = node.args[0], [node.func]
            else:
                continue
            if tells_time(value, names, clocks):
                names.update(part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))
        if len(names) == before:
            return names


def clocks_of(tree: ast.AST) -> set[str]:
    """The clocks, and the functions of a file that give what they say, or how long something took."""
    clocks = set(CLOCKS)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [part.value for part in ast.walk(function) if isinstance(part, ast.Return) and part.value]
            names = timed(function, clocks)
            if any(tells_time(value, names, clocks) for value in given):
                clocks.add(function.name)
    return clocks


def is_generous(bound: ast.AST) -> bool:
    return isinstance(bound, ast.Constant) and isinstance(bound.value, int | float) and bound.value >= GENEROUS_S


def upper_bounds(compared: ast.Compare, names: set[str], clocks: set[str]) -> Iterator[ast.AST]:
    """What of a comparison a duration has to stay below."""
    sides = [compared.left, *compared.comparators]
    for left, operator, right in zip(sides, compared.ops, compared.comparators, strict=False):
        less, more = (left, right) if isinstance(operator, ast.Lt | ast.LtE) else (right, left)
        if not isinstance(operator, ast.In | ast.NotIn) and tells_time(less, names, clocks):
            yield more


def is_measured(function: ast.AST | None) -> bool:
    """Whether a test is run by `make bench` alone."""
    return any("mark.bench" in ast.unparse(decorator) for decorator in getattr(function, "decorator_list", ()))


def test_no_speed_is_asserted() -> None:
    """What takes less than so many seconds is for the bench; a bound of ten seconds and more is kept by any machine."""
    found = set()
    for file in FILES:
        if not any(clock in file.read_text() for clock in CLOCKS):
            continue
        clocks = clocks_of(ast.parse(file.read_text()))
        for place in places(file):
            if isinstance(place.node, ast.Assert) and place.function and not is_measured(place.function):
                names = timed(place.function, clocks)
                for part in ast.walk(place.node.test):
                    if isinstance(part, ast.Compare) and not all(map(is_generous, upper_bounds(part, names, clocks))):
                        found.add(place.name)
    assert found == DURATIONS.keys()


def private_names(file: Path) -> list[str]:
    """What a file of tests names that is private to the product."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
                found.append(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tiltyard"):
            found += [part for name in node.names for part in (*(node.module or "").split("."), name.name)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            found += [text.rpartition(".")[2] for text in texts]
    return [name for name in found if name.startswith("_") and not name.startswith("__") and name not in FOREIGN]


def test_tests_use_public_doors() -> None:
    """What is private to the product is no test's business; the files that still name it are listed, and get fewer."""
    found = {str(file.relative_to(FOLDER)): len(private_names(file)) for file in FILES}
    assert {file: count for file, count in found.items() if count} == PRIVATE
