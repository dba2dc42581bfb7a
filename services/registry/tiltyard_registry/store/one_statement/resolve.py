"""What model URIs name now, in one visit to the database: asked by every scoring service at each promotion."""

import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.names import parse_model_name
from tiltyard.uri import AliasUri, VersionUri, parse_model_uri
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.prompts import PROMPT_TAG, is_prompt_version
from tiltyard_registry.store import access
from tiltyard_registry.store.models.related_rows import location_of
from tiltyard_registry.store.sql.availability import unavailable_when_lost
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.engines import READ_TIMEOUT_S
from tiltyard_registry.store.sql.sqlite import numbered
from tiltyard_registry.store.sql.sqlite_connection import InlineConnection
from tiltyard_registry.tables.models import registered_models

_SHOWN = ("version", "manifest_digest", "source", "run_id", "model_id", "status", "external")
_RESOLVED = """
SELECT registered_models.name, {columns}, v.storage_location, v.pinned_prefix,
  (SELECT t.value FROM model_version_tags AS t
  WHERE t.registered_model_id = v.registered_model_id AND t.version = v.version AND t.key = '{tag}') AS prompt
FROM {asked} {models}
JOIN model_versions AS v ON v.registered_model_id = registered_models.id AND v.version = coalesce(asked.version,
  (SELECT a.version FROM registered_model_aliases AS a
  WHERE a.registered_model_id = registered_models.id AND a.alias = asked.alias))
WHERE true{condition}
ORDER BY asked.position"""
_SQLITE = """(SELECT key AS position, json_extract(value, '$[0]') AS name, json_extract(value, '$[1]') AS alias,
  json_extract(value, '$[2]') AS version FROM json_each(?1)) AS asked"""
_SQLITE_MODELS = "JOIN registered_models ON registered_models.name = asked.name"
_POSTGRESQL = "unnest($1::text[], $2::text[], $3::integer[]) WITH ORDINALITY AS asked (name, alias, version, position)"
# One look into the index for each: few are asked for and taken for many, for which all models would be read.
_POSTGRESQL_MODELS = """CROSS JOIN LATERAL
  (SELECT * FROM registered_models WHERE registered_models.name = asked.name OFFSET 0) AS registered_models"""


@cache
def _statement(is_sqlite: bool, condition: str) -> str:
    columns = ", ".join(f"v.{name}" for name in _SHOWN)
    asked, models = (_SQLITE, _SQLITE_MODELS) if is_sqlite else (_POSTGRESQL, _POSTGRESQL_MODELS)
    return _RESOLVED.format(columns=columns, tag=PROMPT_TAG, asked=asked, models=models, condition=condition)


async def read_resolved(database: Database, who: Principal, uris: Sequence[str]) -> list[dict[str, Any]] | None:
    """For each URI the version that it names, as `resolution.resolve` has them; None unless each names one.

    Raises:
        TemporarilyUnavailable: the database is away, or every connection stayed busy.
    """
    asked = [_read(uri) for uri in uris]
    if None in asked:
        return None
    is_sqlite = database.is_sqlite
    condition, values = access.visible_sql(
        who, registered_models, Privilege.EXECUTE, 2 if is_sqlite else 4, is_sqlite=is_sqlite
    )
    statement = _statement(is_sqlite, condition)
    rows: Sequence[Mapping[str, Any]]
    if is_sqlite:
        rows = await database.sqlite(partial(_rows, statement, numbered(json.dumps(asked), *values)), is_read=True)
    else:
        async with database.driver() as connection:
            with unavailable_when_lost():
                columns = zip(*asked, strict=True)
                rows = await connection.fetch(statement, *map(list, columns), *values, timeout=READ_TIMEOUT_S)
    if len(rows) != len(uris) or any(_is_prompt(row) for row in rows):
        return None
    return [
        {
            **row,
            "uri": uri,
            "digest": row["manifest_digest"],
            "external": bool(row["external"]),
            "location": location_of(row),
        }
        for uri, row in zip(uris, rows, strict=True)
    ]


def _read(uri: str) -> tuple[str, str | None, int | None] | None:
    """The name, alias and number in a URI; None where `resolution.resolve` has more to do, or something to say."""
    try:
        match parse_model_uri(uri):
            case AliasUri(name, alias):
                return parse_model_name(name).shown, alias, None
            case VersionUri(name, number):
                return parse_model_name(name).shown, None, number
    except InvalidParameterValue:
        pass
    return None


def _rows(statement: str, values: dict[str, Any], connection: InlineConnection) -> list[dict[str, Any]]:
    cursor = connection.execute(statement, values)
    names = [name for name, *_ in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _is_prompt(row: Mapping[str, Any]) -> bool:
    tags = [] if row["prompt"] is None else [{"key": PROMPT_TAG, "value": row["prompt"]}]
    return is_prompt_version(row["storage_location"], tags)
