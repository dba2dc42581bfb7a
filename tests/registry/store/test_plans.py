"""Hot statements find their rows by an index: a table that grows is never read from end to end."""

from typing import Any

from sqlalchemy import Engine, event

from tests.registry.store_house import House
from tiltyard.wire.mlflow.runs import MetricIn
from tiltyard_registry.rules.entries import Entry
from tiltyard_registry.store.events import history
from tiltyard_registry.store.models import aliases, batch_jobs, model_versions, registered_models, resolution, search
from tiltyard_registry.store.models import search as searches
from tiltyard_registry.store.runs import log_batch, metric_history, run_search, runs

_GROWING = {
    "registered_models",
    "registered_model_tags",
    "registered_model_aliases",
    "model_versions",
    "model_version_tags",
    "events",
    "batch_jobs",
    "runs",
    "params",
    "run_tags",
    "metrics",
    "latest_metrics",
    "datasets",
    "dataset_inputs",
    "dataset_input_tags",
    "model_inputs",
    "model_outputs",
}


async def _scans(house: House, statements: list[tuple[str, Any]]) -> list[str]:
    """The steps of SQLite's plans that read a whole growing table, and the statements they are of."""
    found = []
    async with house.database.read() as session:
        for statement, parameters in statements:
            plan = await session.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for step in plan.mappings():
                words = step["detail"].split()
                if words[0] == "SCAN" and words[1] in _GROWING and "INDEX" not in words:
                    found.append(f"{step['detail']}: {statement}")
    return found


async def test_hot_statements_use_an_index(sqlite_url: str, tmp_path: Any) -> None:
    """Look-ups by name, alias, time and tag, pages of searches, registrations and promotions."""
    house = House(sqlite_url, str(tmp_path / "artifacts"))
    await house.external("m", count=2)
    await house.do(aliases.set_alias, "m", "champion", 1)
    statements: list[tuple[str, Any]] = []

    def note(*arguments: Any) -> None:
        statement, parameters = arguments[2], arguments[3]
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            statements.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    event.listen(Engine, "before_cursor_execute", note)
    tagged = "tags.a = '1' AND tags.b = '2' AND tags.c LIKE 'x%'"
    for read, arguments in (
        (registered_models.get_registered_model, ("m",)),
        (registered_models.get_latest_versions, ("m",)),
        (search.search_registered_models, ()),
        (search.search_registered_models, (tagged,)),
        (model_versions.get_model_version, ("m", 1)),
        (searches.search_model_versions, ("name = 'm'",)),
        (searches.search_model_versions, ("run_id = 'r'",)),
        (aliases.get_model_version_by_alias, ("m", "champion")),
        (aliases.get_model_version_by_alias, ("m", "latest")),
        (aliases.list_aliases, ("m",)),
        (aliases.alias_history, ("m", "champion")),
        (resolution.resolve, (["models:/m@champion", "models:/m/1", "models:/m/latest", "models:/m/None"],)),
        (batch_jobs.list_batch_jobs, ("m", 1)),
        (history.search_events, ()),
    ):
        await house.see(read, *arguments)
    await house.see(aliases.list_aliases, "m", at=1)
    await house.see(aliases.get_alias, "m", "champion", at=2**60)
    for narrow in ({"model": "m"}, {"principal": "alice"}, {"since": 1, "until": 2**60}):
        await house.see(history.search_events, **narrow)
    await house.external("m")
    await house.do(aliases.set_alias, "m", "champion", 2)
    await house.do(aliases.rollback_alias, "m", "champion")
    await house.do(model_versions.transition_model_version_stage, "m", 2, "Production", archive_existing_versions=True)
    await house.do(model_versions.delete_model_version, "m", 1)
    await house.do(registered_models.delete_registered_model, "m")
    run_id = (await house.do(runs.create_run, "0"))["info"]["run_id"]
    await house.do(
        log_batch.log_batch,
        run_id,
        metrics=[MetricIn("m", 1.0, 1)],
        params=[Entry("p", "1")],
        tags=[Entry("t", "1")],
    )
    await house.see(runs.get_run, run_id)
    await house.see(metric_history.get_history, run_id, "m", max_results=10)
    await house.see(run_search.find_runs, ["0"])
    matching = "metrics.m > 0 AND params.p = '1' AND tags.t LIKE '1%'"
    await house.see(run_search.find_runs, ["0"], filter=matching, order_by=["metrics.m DESC", "params.p"])
    event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) > 80
    assert await _scans(house, statements) == []
    assert await _scans(house, [("SELECT * FROM events WHERE action = ?", ("x",))]) != []
    await house.database.close()
