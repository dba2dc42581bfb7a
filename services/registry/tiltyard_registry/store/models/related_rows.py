"""Lists that hang on a page of rows: one statement per kind and page, however many rows it has."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Text,
    column,
    func,
    literal,
    null,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tiltyard_registry.rules.lifecycle import STAGES
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import (
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)


class TagRow(TypedDict):
    """A tag, or a param."""

    key: str
    value: str


class AliasRow(TypedDict):
    """An alias and the version that it names; with the name of the model where that is not said around it."""

    name: NotRequired[str]
    alias: str
    version: int


class VersionRow(TypedDict):
    """A version's own columns, the name of its model, and what hangs on it."""

    name: str
    registered_model_id: int
    version: int
    uuid: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str | None
    user_id: str | None
    updated_by: str | None
    current_stage: str
    source: str
    run_id: str | None
    run_link: str | None
    model_id: str | None
    status: str
    status_message: str | None
    storage_location: str
    pinned_prefix: str | None
    manifest_digest: str | None
    external: bool
    tags: list[TagRow]
    aliases: list[str]
    location: str


class ModelColumns(TypedDict):
    """A registered model by itself."""

    id: int
    uuid: str
    schema_id: int
    name: str
    description: str | None
    owner: str | None
    creation_timestamp: int
    created_by: str | None
    last_updated_timestamp: int
    updated_by: str | None
    last_version: int


class ModelRow(ModelColumns):
    """A registered model, and what hangs on it."""

    tags: list[TagRow]
    aliases: list[AliasRow]
    latest_versions: list[VersionRow]


VersionKey = tuple[int, int]
"""(registered_model_id, version)."""

# What a version's row shows, in the words of both protocols.
VERSION_COLUMNS = (
    registered_models.c.name,
    *model_versions.c,
)
VERSIONS = select(*VERSION_COLUMNS).join_from(model_versions, registered_models)


async def version_rows(session: Session, found: Iterable[Any]) -> list[VersionRow]:
    """Rows of `VERSIONS` with `tags`, `aliases` and `location` on them, in the order they came."""
    rows = [cast(VersionRow, dict(row)) for row in found]
    if not rows:
        return rows
    keys = [(row["registered_model_id"], row["version"]) for row in rows]
    tags: dict[VersionKey, list[TagRow]] = defaultdict(list)
    aliases: dict[VersionKey, list[str]] = defaultdict(list)
    tag, alias = model_version_tags.c, registered_model_aliases.c
    statement = union_all(
        select(tag.registered_model_id, tag.version, tag.key, tag.value).where(
            among_versions(session, tag.registered_model_id, tag.version, keys)
        ),
        select(alias.registered_model_id, alias.version, alias.alias, null()).where(
            among_versions(session, alias.registered_model_id, alias.version, keys)
        ),
    ).order_by("key")
    for model_id, version, key, value in await session.execute(statement):
        if value is None:
            aliases[model_id, version].append(key)
        else:
            tags[model_id, version].append({"key": key, "value": value})
    for row, key in zip(rows, keys, strict=True):
        row["tags"], row["aliases"], row["location"] = tags[key], aliases[key], location_of(row)
    return rows


async def model_rows(session: Session, found: Iterable[Any]) -> list[ModelRow]:
    """Rows of `registered_models` with `tags`, `aliases` and `latest_versions` on them, in the order they came."""
    rows = [cast(ModelRow, dict(row)) for row in found]
    if not rows:
        return rows
    ids = [row["id"] for row in rows]
    tags: dict[int, list[TagRow]] = defaultdict(list)
    aliases: dict[int, list[AliasRow]] = defaultdict(list)
    tag, alias = registered_model_tags.c, registered_model_aliases.c
    statement = union_all(
        select(tag.registered_model_id, tag.key, tag.value, literal(0).label("version")).where(
            rowsets.among(session, tag.registered_model_id, ids)
        ),
        select(alias.registered_model_id, alias.alias, null(), alias.version).where(
            rowsets.among(session, alias.registered_model_id, ids)
        ),
    ).order_by("key")
    for model_id, key, value, version in await session.execute(statement):
        if value is None:
            aliases[model_id].append({"alias": key, "version": version})
        else:
            tags[model_id].append({"key": key, "value": value})
    latest: dict[int, list[VersionRow]] = defaultdict(list)
    for version_row in await latest_versions(session, ids):
        latest[version_row["registered_model_id"]].append(version_row)
    for row in rows:
        row["tags"], row["aliases"] = tags[row["id"]], aliases[row["id"]]
        row["latest_versions"] = latest[row["id"]]
    return rows


async def latest_versions(session: Session, ids: Sequence[int], stages: Sequence[str] = STAGES) -> list[VersionRow]:
    """The highest version of each stage of each model: a few index look-ups a model, however many versions."""
    if not session.is_sqlite:
        named = func.unnest(literal(list(stages), ARRAY(Text))).table_valued(column("value", Text)).render_derived()
    else:
        named = func.json_each(literal(json.dumps(list(stages)))).table_valued("value")
    other = model_versions.alias("other")
    highest = (
        select(func.max(other.c.version))
        .where(other.c.registered_model_id == registered_models.c.id, other.c.current_stage == named.c.value)
        .correlate(registered_models, named)
        .scalar_subquery()
    )
    newest = (
        select(registered_models.c.id, highest.label("version"))
        .select_from(registered_models.join(named, true()))
        .where(rowsets.among(session, registered_models.c.id, ids))
        .subquery("newest")
    )
    version = model_versions.c
    query = VERSIONS.join(
        newest, (newest.c.id == version.registered_model_id) & (newest.c.version == version.version)
    ).order_by(version.registered_model_id, version.version)
    return await version_rows(session, await session.all(query))


def among_versions(
    session: Session, model_id: ColumnElement[int], version: ColumnElement[int], keys: Sequence[VersionKey]
) -> ColumnElement[bool]:
    """(`model_id`, `version`) is one of `keys`, however many they are."""
    if session.is_sqlite:
        pairs = func.json_each(literal(json.dumps(keys))).table_valued("value")
        members = select(func.json_extract(pairs.c.value, "$[0]"), func.json_extract(pairs.c.value, "$[1]"))
    else:
        arrays = (
            literal([key[0] for key in keys], ARRAY(BigInteger)),
            literal([key[1] for key in keys], ARRAY(Integer)),
        )
        rows = func.unnest(*arrays).table_valued(column("id", BigInteger), column("version", Integer)).render_derived()
        members = select(rows.c.id, rows.c.version)
    return tuple_(model_id, version).in_(members)


def by_key(tags: Iterable[TagRow]) -> dict[str, str]:
    """Tags as a mapping."""
    return {tag["key"]: tag["value"] for tag in tags}


def location_of(row: Mapping[str, Any]) -> str:
    """Where the files of a version are read: through our artifact API, or where an external version lies."""
    prefix = row["pinned_prefix"]
    return str(row["storage_location"]) if prefix is None else f"mlflow-artifacts:/{prefix}"
