"""What can be granted on, by type and full name: how it is found, and what lies above it."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, select

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard.names import parse_model_name
from tiltyard_registry.rules.access import SEE, Kind, Principal, Privilege
from tiltyard_registry.rules.experiments import parse_experiment_id
from tiltyard_registry.store import access
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.experiments import experiments
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.namespaces import catalogs, schemas

ROOT_NAME = "metastore"
# Source: Unity Catalog says `function` of a model too, and databricks-sdk may say `model`.
TYPES: dict[str, Kind] = {
    "metastore": Kind.ROOT,
    "catalog": Kind.CATALOG,
    "schema": Kind.SCHEMA,
    "registered_model": Kind.MODEL,
    "model": Kind.MODEL,
    "function": Kind.MODEL,
    "experiment": Kind.EXPERIMENT,
}
TYPE_OF = {kind: name for name, kind in reversed(TYPES.items())}
"""The name of each kind's type that answers say."""


_SCHEMAS = select(schemas.c.id, schemas.c.catalog_id, catalogs.c.name.label("catalog_name")).join_from(
    schemas, catalogs
)
_MODELS = (
    select(
        registered_models.c.id,
        registered_models.c.name,
        registered_models.c.schema_id,
        schemas.c.name.label("schema_name"),
        schemas.c.catalog_id,
        catalogs.c.name.label("catalog_name"),
    )
    .join_from(registered_models, schemas)
    .join(catalogs)
)
_QUERIES: dict[Kind, tuple[Select[Any], access.Place]] = {
    Kind.CATALOG: (select(catalogs.c.id), access.CATALOGS),
    Kind.SCHEMA: (_SCHEMAS, access.SCHEMAS),
    Kind.MODEL: (_MODELS, access.MODELS),
    Kind.EXPERIMENT: (select(experiments.c.experiment_id.label("id")), access.EXPERIMENTS),
}


class Securable(NamedTuple):
    """Something that can be granted on: what `type` and `name` say, and the ids of itself and of what lies above."""

    kind: Kind
    id: int
    name: str
    above: dict[Kind, tuple[int, str]]

    @property
    def full(self) -> str:
        """The type and the name, as events and messages say them."""
        return f"{TYPE_OF[self.kind]} {self.name}"

    @property
    def levels(self) -> dict[Kind, tuple[int, str]]:
        """The id and the name of itself and of whatever is above, from near to far."""
        return {self.kind: (self.id, self.name), **self.above}


async def find_securable(session: Session, who: Principal, wanted: Privilege, type_name: str, name: str) -> Securable:
    """The securable, for somebody who wants a privilege on it.

    Raises:
        ResourceDoesNotExist: there is none that `who` may see.
        PermissionDenied: they see it, and have not the privilege.
        InvalidParameterValue: there is no such type.
    """
    kind = _kind_of(type_name)
    if kind is Kind.ROOT:
        await access.require(session, who, wanted)
        return _ROOT
    return (await _found(session, who, kind, name, wanted, wanted))[0]


async def look_at_securable(session: Session, who: Principal, type_name: str, name: str) -> tuple[Securable, bool]:
    """The securable, for somebody who sees it, and whether they may manage it too.

    Raises:
        ResourceDoesNotExist: there is none that `who` may see.
        InvalidParameterValue: there is no such type.
    """
    kind = _kind_of(type_name)
    if kind is Kind.ROOT:
        return _ROOT, await access.has(session, who, Privilege.MANAGE)
    return await _found(session, who, kind, name, Privilege.MANAGE, SEE)


def _kind_of(type_name: str) -> Kind:
    kind = TYPES.get(type_name.lower())
    if kind is None:
        raise InvalidParameterValue(
            f"Invalid value {type_name[:40]!a} for parameter 'securable_type': expected one of {', '.join(TYPES)}."
        )
    return kind


async def _found(
    session: Session, who: Principal, kind: Kind, name: str, asked: Privilege, wanted: Privilege
) -> tuple[Securable, bool]:
    """The securable for who has what is `wanted` on it, and whether they have what is `asked` about too."""
    query, place = _QUERIES[kind]
    found = await session.one(access.held(query.where(_named(kind, name)), who, place, asked))
    shown = f"{TYPE_OF[kind]} {name[:300]}"
    row = access.admit(who, wanted, found, ResourceDoesNotExist(f"There is no {shown}."), shown)
    above: dict[Kind, tuple[int, str]] = {}
    if kind is Kind.MODEL:
        above[Kind.SCHEMA] = (row["schema_id"], f"{row['catalog_name']}.{row['schema_name']}")
    if kind in (Kind.MODEL, Kind.SCHEMA):
        above[Kind.CATALOG] = (row["catalog_id"], row["catalog_name"])
    above[Kind.ROOT] = (0, ROOT_NAME)
    securable = Securable(kind, row["id"], row["name"] if kind is Kind.MODEL else name, above)
    return securable, access.allows(who, row)


def _named(kind: Kind, name: str) -> ColumnElement[bool]:
    match kind:
        case Kind.CATALOG:
            return catalogs.c.name == name
        case Kind.SCHEMA:
            catalog, _, schema = name.partition(".")
            return and_(catalogs.c.name == catalog, schemas.c.name == schema)
        case Kind.MODEL:
            return registered_models.c.name == parse_model_name(name, parameter="full_name").shown
        case _:
            return experiments.c.experiment_id == parse_experiment_id(name)


_ROOT = Securable(Kind.ROOT, 0, ROOT_NAME, {})
