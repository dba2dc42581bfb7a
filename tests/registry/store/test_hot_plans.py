"""The hot reads find their rows by an index, on either database, in tables with thousands of rows."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.databases import BACKENDS
from tests.registry.store.filled import RUN_ID, Statements, fill, noted
from tests.registry.store_house import ALICE, House
from tiltyard_registry.background.run_names import RunNames
from tiltyard_registry.gc.entities import RUNS, mark
from tiltyard_registry.store.models import aliases, search
from tiltyard_registry.store.one_statement.reads import read_run, read_version, read_version_by_alias
from tiltyard_registry.store.one_statement.resolve import read_resolved
from tiltyard_registry.store.runs import bulk_deletion, metric_history, run_search, runs
from tiltyard_registry.store.runs.run_json import runs_part
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.all_tables import metadata

_FEW_ROWS = {"experiments", "experiment_tags", "catalogs", "schemas"}
_GROWING = {table.name for table in metadata.sorted_tables} - _FEW_ROWS


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BACKENDS)
async def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The doors over a filled database, on each backend."""
    folder = tmp_path_factory.mktemp("plans")
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        url = f"sqlite:///{folder / 'plans.db'}"
        (folder / "plans.db").write_bytes(template.read_bytes())
    else:
        url = request.getfixturevalue("postgres_server").create_database()
    opened = House(url, folder.as_uri())
    await fill(opened.database)
    await RunNames(opened.database).catch_up()
    yield opened
    await opened.database.close()


async def _search(session: Session, filter: str | None, *order_by: str) -> None:
    rows, token = await run_search.find_runs(session, ALICE, ["1"], filter=filter, order_by=order_by, max_results=20)
    assert rows
    assert (await runs_part(session, rows, token)).text


Read = Callable[[Session], Awaitable[Any]]
READS: dict[str, Read] = {
    "get run": lambda session: runs.get_run(session, ALICE, RUN_ID),
    "page of runs": lambda session: _search(session, None),
    "page of runs, oldest first": lambda session: _search(session, None, "attributes.start_time ASC"),
    "runs by metric": lambda session: _search(session, "metrics.k1 > 0.95"),
    "runs by param": lambda session: _search(session, "params.k1 = '7'"),
    "runs by tag": lambda session: _search(session, "tags.k1 IN ('7', '8')"),
    "runs by a pattern of their name": lambda session: _search(session, "attributes.run_name ILIKE '%R123%'"),
    "runs in order of a metric": lambda session: _search(session, "params.k1 != '7'", "metrics.k2 DESC"),
    "history": lambda session: metric_history.get_history(session, ALICE, RUN_ID, "k1"),
    "page of history": lambda session: metric_history.get_history(session, ALICE, RUN_ID, "k1", max_results=10),
    "alias": lambda session: aliases.get_model_version_by_alias(session, ALICE, "m1", "a1"),
    "versions": lambda session: search.search_model_versions(session, ALICE, "name = 'm1'"),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_hot_reads_use_an_index(house: House, read: Read) -> None:
    """No plan of theirs reads a growing table from end to end."""
    with noted(house.database) as statements:
        async with house.database.read() as session:
            await read(session)
        assert await _scans(house, statements) == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("house", ["postgres"], indirect=True)
async def test_reads_past_the_framework_use_an_index(house: House) -> None:
    """What PostgreSQL answers in one statement: a run by its id, a version by its alias or number, what URIs name."""
    with noted(house.database) as statements:
        assert await read_run(house.database, ALICE, RUN_ID)
        assert await read_version_by_alias(house.database, ALICE, "m1", "a1")
        assert await read_version(house.database, ALICE, "m1", "1")
        assert await read_resolved(house.database, ALICE, ["models:/m1@a1", "models:/m1/1"])
        assert await _scans(house, statements) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_scan_is_noticed(house: House) -> None:
    """A statement that no index serves is found."""
    with noted(house.database) as statements:
        async with house.database.read() as session:
            await session.connection.exec_driver_sql("SELECT * FROM runs WHERE artifact_uri = 'y'")
        assert len(await _scans(house, statements)) == 1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("house", ["postgres"], indirect=True)
async def test_changes_by_the_many_join_nothing(house: House) -> None:
    """Deleting, restoring and purging by the many never compare rows pair by pair, whatever the statistics say."""
    with noted(house.database) as statements:
        await house.see(bulk_deletion.delete_runs, "1", 0)
        await house.see(bulk_deletion.restore_runs, "1", 2**62)
        async with house.database.read() as session:
            await mark(session, RUNS, RUNS.is_due(0), 1000)
        await house.see(bulk_deletion.delete_run_tree, RUN_ID)
        changes = [(text, given) for text, given in await statements.take() if text.startswith("UPDATE runs")]
    assert len(changes) == 4
    async with house.database.read() as session:
        driver = await session.driver()
        for text, given in changes:
            plan = await driver.fetchval(f"EXPLAIN (FORMAT JSON) {text}", *given)
            assert not [node for node in _nodes(plan[0]["Plan"]) if "Join Type" in node], text


async def _scans(house: House, statements: Statements) -> list[str]:
    """The steps of the plans that read a whole growing table, and the statements they are of."""
    asked = await statements.take()
    assert asked
    found = []
    async with house.database.read() as session:
        for statement, parameters in asked:
            if house.database.is_sqlite:
                plan = await session.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps = [row["detail"].split() for row in plan.mappings()]
                scanned = [step[1] for step in steps if step[0] == "SCAN" and "INDEX" not in step]
            else:
                driver = await session.driver()
                async with driver.transaction():
                    # Tables of a few pages are best read whole; what counts is what is left when they grow.
                    await driver.execute("SET LOCAL enable_seqscan = off")
                    plan = await driver.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
                scanned = [node["Relation Name"] for node in _nodes(plan[0]["Plan"]) if _is_scan(node)]
            found += [f"{table}: {statement}" for table in scanned if table in _GROWING]
    return found


def _is_scan(node: dict[str, Any]) -> bool:
    """Whether a step of PostgreSQL's plan reads a table, or an index of it, from end to end."""
    kind = node["Node Type"]
    return kind == "Seq Scan" or (kind in {"Index Scan", "Index Only Scan"} and "Index Cond" not in node)


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in _nodes(part))]
