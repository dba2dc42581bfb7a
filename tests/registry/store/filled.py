"""A database with rows in every table that grows, put there by plain SQL; and what is asked of a database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event, text
from sqlalchemy.pool import Pool

from tiltyard_registry.background.loop import TASK_NAME
from tiltyard_registry.store.sql.database import Database

RUNS, MODELS, VERSIONS = 2400, 120, 10
RUN_ID = f"{1234:04}{'a' * 28}"
"""One of the runs."""

_NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
_KEYS = "(SELECT 'k0' AS key, 0 AS at UNION ALL SELECT 'k1', 1 UNION ALL SELECT 'k2', 2) AS keys"
_SCHEMA = "(SELECT id FROM schemas WHERE catalog_id = (SELECT id FROM catalogs WHERE name = 'workspace'))"
_ROWS: tuple[tuple[int, str, str], ...] = (
    (40, "experiments (name, artifact_location, creation_time, last_update_time)", "'e' || n, 'x', n, n"),
    (40, "experiment_tags", "n, 'k', 'v'"),
    (
        RUNS,
        "runs (run_id, experiment_id, run_name, user_id, status, start_time, artifact_uri)",
        f"substr(CAST(10000 + n AS TEXT), 2) || '{'a' * 28}', n % 3, 'r' || n, 'ann', 'FINISHED', 1000 + n % 500, 'x'",
    ),
    (60, "datasets (experiment_id, name, digest, source_type, source)", "n % 3, 'd' || n, 'x', 'local', 'x'"),
    (RUNS, "dataset_inputs (run, dataset_id)", "n, n % 60 + 1"),
    (RUNS, "dataset_input_tags", "n, n % 60 + 1, 'k', 'v'"),
    (
        MODELS,
        "registered_models (uuid, schema_id, name, creation_timestamp, last_updated_timestamp, last_version)",
        f"CAST(n AS TEXT), {_SCHEMA}, 'm' || n, n, n, {VERSIONS}",
    ),
    (MODELS, "registered_model_tags", "n, 'k', 'v' || n"),
    (
        MODELS * VERSIONS,
        "model_versions (registered_model_id, version, uuid, creation_timestamp, last_updated_timestamp, source, "
        "status, storage_location)",
        f"(n - 1) / {VERSIONS} + 1, n % {VERSIONS} + 1, CAST(n AS TEXT), n, n, 's3://x', 'READY', 's3://x'",
    ),
    (MODELS * VERSIONS, "model_version_tags", f"(n - 1) / {VERSIONS} + 1, n % {VERSIONS} + 1, 'k', 'v' || n"),
    (MODELS * VERSIONS, "registered_model_aliases", f"(n - 1) / {VERSIONS} + 1, 'a' || n, n % {VERSIONS} + 1"),
    (
        RUNS,
        "events (time, principal, action, registered_model_id, name, alias)",
        f"n, 'p' || n % 9, 'set_alias', n % {MODELS} + 1, 'm' || (n % {MODELS} + 1), 'a1'",
    ),
    (
        60,
        "logged_models (model_id, experiment_id, name, artifact_uri, creation_timestamp_ms, last_updated_timestamp_ms, "
        "status)",
        "'l' || n, 0, 'n', 'x', n, n, 'LOGGED_MODEL_READY'",
    ),
    (60, "logged_model_tags", "'l' || n, 'k', 'v'"),
    (60, "logged_model_params", "'l' || n, 'k', 'v'"),
    (60, "logged_model_metrics (model_id, run_id, key, timestamp, step, value)", f"'l' || n, '{RUN_ID}', 'k', n, 0, 1"),
    (60, "catalogs (uuid, name, created_at, updated_at)", "'c' || n, 'c' || n, n, n"),
    (
        60,
        "schemas (uuid, catalog_id, name, created_at, updated_at)",
        f"'s' || n, (SELECT catalog_id FROM schemas WHERE id = {_SCHEMA}), 's' || n, n, n",
    ),
)
_BY_KEY = (
    ("params", "id, key, CAST(id % 300 AS TEXT)"),
    ("run_tags", "id, key, CAST(id % 300 AS TEXT)"),
    ("latest_metrics (run, key, timestamp, step, value)", "id, key, id, at, id % 97 / 97.0"),
    ("metrics (run, key, timestamp, step, value)", "id, key, id, at, id % 97 / 97.0"),
)


async def fill(database: Database) -> None:
    """Puts the rows into a new database, and lets it count them."""
    async with database.write() as session:
        # SQLite wants the numbers behind INSERT, PostgreSQL takes them there.
        for count, table, values in _ROWS:
            await session.execute(
                text(f"INSERT INTO {table} {_NUMBERS.format(count=count)} SELECT {values} FROM numbers")
            )
        for table, values in _BY_KEY:
            await session.execute(text(f"INSERT INTO {table} SELECT {values} FROM runs, {_KEYS}"))
    async with database.read() as session:
        await session.execute(text("ANALYZE"))


class Statements:
    """What was asked of a database, with its parameters."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    async def take(self) -> list[tuple[str, Any]]:
        """The statements since the last time."""
        # PostgreSQL's driver tells of them in the next turn of the loop.
        await asyncio.sleep(0)
        asked, self.asked = self.asked, []
        return asked


def _is_background() -> bool:
    """Whether the background asks, which does so whenever its time has come."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.get_name().startswith(TASK_NAME)


@contextmanager
def noted(database: Database) -> Iterator[Statements]:
    """Notes every statement that requests have read or change rows, by whichever layer they ask."""
    statements = Statements()

    def of_session(*arguments: Any) -> None:
        if not _is_background():
            statements.asked.append((arguments[2], arguments[3]))

    def of_driver(query: Any) -> None:
        # What a new connection asks about the types it meets is no part of a request.
        if "pg_catalog" not in query.query and "set_config" not in query.query:
            statements.asked.append((query.query, query.args))

    def on_checkout(connection: Any, *_: Any) -> None:
        connection.driver_connection.add_query_logger(of_driver)

    listeners: list[Any] = [(Engine, "before_cursor_execute", of_session)]
    if not database.is_sqlite:
        listeners.append((Pool, "checkout", on_checkout))
    for listener in listeners:
        event.listen(*listener)
    try:
        yield statements
    finally:
        for listener in listeners:
            event.remove(*listener)
