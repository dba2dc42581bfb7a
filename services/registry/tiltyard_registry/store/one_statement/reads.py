"""What is read most, as JSON text, in one visit to the database: a run, and a version by its alias or number."""

from functools import cache, partial
from typing import Any

import msgspec

from tiltyard.names import MAX_ALIAS_CHARS, check_version, is_latest, parse_model_name
from tiltyard_registry.rules.access import SEE, Principal, Privilege
from tiltyard_registry.store import access
from tiltyard_registry.store.runs.run_data import in_sqlite
from tiltyard_registry.store.runs.run_json import RUN
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.engines import READ_TIMEOUT_S
from tiltyard_registry.store.sql.json_text import nested_sql, select_sql
from tiltyard_registry.store.sql.sqlite import numbered
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.runs import runs

_BY_RUN_ID = select_sql(nested_sql({"run": RUN}), "runs WHERE run_id = $1")
_ROW = select_sql(", ".join(column.name for column in runs.c), "runs WHERE run_id = ?1")

_TAGS = """SELECT {} FROM (SELECT key, value FROM model_version_tags
  WHERE registered_model_id = v.registered_model_id AND version = v.version ORDER BY key) AS t"""
_ALIASES = """SELECT {} FROM (SELECT n.alias FROM registered_model_aliases AS n
  WHERE n.registered_model_id = v.registered_model_id AND n.version = v.version ORDER BY n.alias) AS t"""
_VERSION = """
SELECT registered_models.name, CAST(v.version AS text) AS version, v.creation_timestamp, v.last_updated_timestamp,
  v.current_stage, v.source, v.status, ({tags}) AS tags, ({aliases}) AS aliases,
  coalesce(v.description, '') AS description, coalesce(v.run_id, '') AS run_id, coalesce(v.run_link, '') AS run_link,
  v.status_message, v.model_id, v.user_id
FROM registered_models {which}
WHERE registered_models.name = {mark}1{condition}"""
_BY_NUMBER = """
JOIN model_versions AS v ON v.registered_model_id = registered_models.id AND v.version = CAST({mark}2 AS integer)"""
# PostgreSQL is quicker with a join than with a query for the number.
_BY_ALIAS = """
JOIN registered_model_aliases AS a ON a.registered_model_id = registered_models.id AND a.alias = {mark}2
JOIN model_versions AS v ON v.registered_model_id = registered_models.id AND v.version = a.version"""
_SQLITE = {
    "mark": "?",
    "tags": _TAGS.format("json_group_array(json_object('key', key, 'value', value))"),
    "aliases": _ALIASES.format("json_group_array(alias)"),
}
_POSTGRESQL = {
    "mark": "$",
    "tags": _TAGS.format("coalesce(json_agg(row_to_json(t)), '[]')"),
    "aliases": _ALIASES.format("coalesce(json_agg(t.alias), '[]')"),
}
_AS_JSON = "SELECT json_strip_nulls(row_to_json(shown))::text FROM ({}) AS shown"


@cache
def _statement(is_sqlite: bool, which: str, condition: str) -> str:
    words = _SQLITE if is_sqlite else _POSTGRESQL
    text = _VERSION.format(**words, which=which.format(**words), condition=condition)
    return text if is_sqlite else _AS_JSON.format(text)


async def read_run(database: Database, who: Principal, run_id: str) -> bytes | None:
    """The reply `{"run": …}`; None when there is no such run that they may read.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    condition, values = access.visible_sql(who, runs, Privilege.READ, 2, is_sqlite=database.is_sqlite)
    if database.is_sqlite:
        return await database.sqlite(partial(_run, _ROW + condition, numbered(run_id, *values)), is_read=True)
    async with database.driver() as connection:
        with unavailable_when_lost():
            found: str | None = await connection.fetchval(
                _BY_RUN_ID + condition, run_id, *values, timeout=READ_TIMEOUT_S
            )
    return None if found is None else found.encode()


def _run(statement: str, values: dict[str, Any], connection: InlineConnection) -> bytes | None:
    with connection.transaction("BEGIN"):
        row = connection.execute(statement, values).fetchone()
        if row is None:
            return None
        (run,) = in_sqlite([dict(zip(runs.c.keys(), row, strict=True))], connection)
    return msgspec.json.encode({"run": run})


async def read_version_by_alias(database: Database, who: Principal, name: str, alias: str) -> bytes | None:
    """The reply `{"model_version": …}` of the version that an alias names; None when there is none that they may see.

    Raises:
        InvalidParameterValue: as `aliases.get_model_version_by_alias`.
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    if is_latest(alias) or len(alias) > MAX_ALIAS_CHARS:
        return None
    return await _read_version(database, who, name, _BY_ALIAS, alias)


async def read_version(database: Database, who: Principal, name: str, version: str) -> bytes | None:
    """As `read_version_by_alias`, of a version by its number.

    Raises:
        InvalidParameterValue: as `model_versions.get_model_version`.
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    return await _read_version(database, who, name, _BY_NUMBER, check_version(version))


async def _read_version(database: Database, who: Principal, name: str, which: str, wanted: str | int) -> bytes | None:
    shown = parse_model_name(name).shown
    condition, values = access.visible_sql(who, registered_models, SEE, 3, is_sqlite=database.is_sqlite)
    statement = _statement(database.is_sqlite, which, condition)
    if database.is_sqlite:
        return await database.sqlite(partial(_version, statement, numbered(shown, wanted, *values)), is_read=True)
    async with database.driver() as connection:
        with unavailable_when_lost():
            found = await connection.fetchval(statement, shown, wanted, *values, timeout=READ_TIMEOUT_S)
    return None if found is None else f'{{"model_version":{found}}}'.encode()


def _version(statement: str, values: dict[str, Any], connection: InlineConnection) -> bytes | None:
    cursor = connection.execute(statement, values)
    row = cursor.fetchone()
    if row is None:
        return None
    shown = {name: value for (name, *_), value in zip(cursor.description, row, strict=True) if value is not None}
    lists = {name: msgspec.Raw(shown[name].encode()) for name in ("tags", "aliases")}
    return msgspec.json.encode({"model_version": shown | lists})
