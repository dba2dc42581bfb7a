"""Each place of the store that asks for somebody is needed: where it does not ask, a check of the table fails."""

import ast
import asyncio
import importlib
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

import tiltyard_registry.store
from tests.fixtures.databases import migrated_sqlite
from tests.registry.access import scene, test_doors
from tests.registry.access.checks import FAST_PATHS, Registry, check, check_administrators, running
from tests.registry.access.table import LAST, TABLE
from tests.registry.access.table_of_doors import ADMIN_DOORS, DOORS
from tests.registry.access.table_of_principals import GRANTS, OF_ADMINS
from tests.registry.gc.test_gc import test_what_was_granted_on_an_experiment_goes_when_it_is_purged
from tests.registry.store.principals import test_grants, test_principals, test_tokens
from tests.registry.store_house import House
from tiltyard_registry.rules.access import SYSTEM

STORE = Path(tiltyard_registry.store.__file__).parent
EVERYBODY, NOTHING = "_everybody", "_nothing"
RECORDS = {"own", "forget"}
# These write down who did it, and ask nothing.
NOT_ASKING = {
    "change_row",
    "change_version",
    "denied",
    "drop",
    "grant_privileges",
    "insert_principal",
    "insert_row",
    "insert_version",
    "move_models",
    "new_version",
    "record",
    "touch",
    "_grant",
    "_insert",
    "_let_in",
    "_point",
}

Check = Callable[[], Awaitable[None]]


class Site(NamedTuple):
    """A call that is made for somebody, and its function's code with everybody in their place."""

    function: FunctionType
    line: int
    call: str
    changed: CodeType

    def __str__(self) -> str:
        return f"{self.function.__module__.removeprefix('tiltyard_registry.store.')}:{self.line} {self.call}"


class _Change(ast.NodeTransformer):
    def __init__(self, target: ast.Call) -> None:
        self._target = target

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if node is not self._target:
            return self.generic_visit(node)
        if _called(node) in RECORDS:
            return ast.Call(ast.Name(NOTHING, ast.Load()), [], [])
        arguments = [ast.Name(EVERYBODY, ast.Load()) if _is_caller(one) else one for one in node.args]
        return ast.Call(node.func, arguments, node.keywords)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_caller(node: ast.expr) -> bool:
    return ast.unparse(node) in {"who", "request.who"}


def sites() -> Iterator[Site]:
    """Every call below `store/` that gets the caller, and is not one that only says who did it."""
    for file in sorted(STORE.rglob("*.py")):
        name = ".".join(("tiltyard_registry.store", *file.relative_to(STORE).with_suffix("").parts))
        if "migrations" in name or name.endswith(("store.access", "__init__")):
            continue
        source = file.read_text()
        module = importlib.import_module(name)
        for at, node in enumerate(ast.walk(ast.parse(source))):
            if not isinstance(node, ast.Call) or not _asks(node):
                continue
            tree = ast.parse(source)
            same = next(one for number, one in enumerate(ast.walk(tree)) if number == at)
            assert isinstance(same, ast.Call)
            outer = next(one for one in tree.body if one.lineno <= node.lineno <= (one.end_lineno or 0))
            assert isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef), f"{name}:{node.lineno} is in no function"
            changed = compile(ast.fix_missing_locations(_Change(same).visit(tree)), str(file), "exec")
            function = inspect.unwrap(getattr(module, outer.name))
            code = next(one for one in changed.co_consts if isinstance(one, CodeType) and one.co_name == outer.name)
            vars(module).update({EVERYBODY: SYSTEM, NOTHING: _nothing})
            yield Site(function, node.lineno, _called(node), code)


# Asked before the store is, and by the door again within its transaction; or of administrators alone.
SECOND_LOOKS = {"registration.new_versions finalize_version", "artifacts.files _check_deletable"}


def _asks(node: ast.Call) -> bool:
    if _called(node) in RECORDS:
        return isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "access"
    return _called(node) not in NOT_ASKING and any(_is_caller(one) for one in node.args)


async def _nothing() -> None:
    pass


@contextmanager
def not_asking(site: Site) -> Iterator[None]:
    """The store while one place does not ask."""
    code = site.function.__code__
    site.function.__code__ = site.changed
    try:
        yield
    finally:
        site.function.__code__ = code


@contextmanager
def noted(codes: set[CodeType]) -> Iterator[None]:
    """Notes the code of every function of the store that runs meanwhile."""
    root = str(STORE)

    def note(frame: Any, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(root):
            codes.add(frame.f_code)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registries(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Registry, Registry]]:
    """The application over PostgreSQL and over SQLite."""
    url = request.getfixturevalue("postgres_server").create_database()
    folder = tmp_path_factory.mktemp("removals")
    migrated_sqlite(folder / "tiltyard.db")
    async with running(folder / "p", database_url=url) as postgres, running(folder) as sqlite:
        yield postgres, sqlite


def checks(registries: tuple[Registry, Registry], new_house: Callable[[], House]) -> Iterator[Check]:
    """Every row of the table, by the ways that it has, and every check of doors; over SQLite what it has of its own."""
    postgres, sqlite = registries
    for row in [*TABLE, *GRANTS, *DOORS]:
        is_fast = row.route.partition(" ")[2] in FAST_PATHS
        for registry, care in (
            [(postgres, False), (postgres, True), (sqlite, False)] if is_fast else [(postgres, False)]
        ):

            async def ask(registry: Registry = registry, row: Any = row, care: bool = care) -> None:
                await check(registry, row, await scene.build(registry.api), prefix="/api/", care=care)

            yield ask
    for row in LAST:

        async def remove(row: Any = row) -> None:
            await check(postgres, row, await scene.build(postgres.api), prefix="/api/", care=False, last=True)

        yield remove
    for row in [*OF_ADMINS, *ADMIN_DOORS]:

        async def administer(row: Any = row) -> None:
            await check_administrators(postgres, row)

        yield administer
    modules = (test_doors, test_grants, test_principals, test_tokens)
    others = {"test_purge": test_what_was_granted_on_an_experiment_goes_when_it_is_purged}
    for name, test in [pair for names in (*map(vars, modules), others) for pair in names.items()]:
        if name.startswith("test_") and [*inspect.signature(test).parameters] == ["house"]:

            async def open_door(test: Any = test) -> None:
                house = new_house()
                try:
                    await test(house)
                finally:
                    await house.database.close()

            yield open_door


@pytest.mark.bench
@pytest.mark.asyncio(loop_scope="module")
async def test_no_place_asks_in_vain(
    registries: tuple[Registry, Registry], emptied_postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    """For each place a check fails when it asks for somebody who may do everything, or records nothing."""

    def new_house() -> House:
        return House(emptied_postgres_url(), (tmp_path / "artifacts").as_uri())

    runs: list[tuple[Check, set[CodeType]]] = []
    for one in checks(registries, new_house):
        codes: set[CodeType] = set()
        with noted(codes):
            await one()
        runs.append((one, codes))
    tried, in_vain = 0, []
    for site in sites():
        code = site.function.__code__
        concerned = [one for one, codes in runs if code in codes]
        tried += 1
        place = f"{str(site).partition(':')[0]} {site.call}"
        if not await fails(concerned, site) and place not in SECOND_LOOKS:
            in_vain.append(f"{site} ({len(concerned)} checks)")
    print(f"\n{tried} places ask; {len(in_vain)} of them in vain")
    assert not in_vain, "\n".join(in_vain)


async def fails(concerned: list[Check], site: Site) -> bool:
    """Whether one of the checks fails while the place does not ask."""
    with not_asking(site):
        for one in concerned:
            try:
                async with asyncio.timeout(60):
                    await one()
            except (Exception, AssertionError, pytest.fail.Exception):
                return True
    return False
