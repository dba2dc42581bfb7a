"""Who may see and do what, as conditions of the statements that find rows; asked by every door of the store.

A row is found for somebody: its statement tells what they may do to it (`held`), and `admit` judges by that. Lists,
searches and counts carry `visible`. Administrators and `anonymous` cost nothing: no query, no column, no condition.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    RowMapping,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
)
from sqlalchemy.engine import make_url

from tiltyard.errors import PermissionDenied, TiltyardError
from tiltyard_registry.rules.access import NAMED, SEE, Kind, Principal, Privilege, clauses
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.access import grants
from tiltyard_registry.tables.experiments import experiments, logged_models
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.namespaces import catalogs, schemas
from tiltyard_registry.tables.runs import datasets, runs

_POSTGRESQL = make_url("postgresql+asyncpg://").get_dialect()()
_OF_CALLER_POSTGRESQL = "grants.principal_id = ANY(${}::bigint[])"
_OF_CALLER_SQLITE = "grants.principal_id IN (SELECT value FROM json_each(?{}))"
_grant = grants.c
_schema = schemas.alias("access_schemas").c


class Place(NamedTuple):
    """Rows that belong to securables of one kind, and the columns that hold the ids of these and of what is above."""

    kind: Kind
    levels: Mapping[Kind, ColumnElement[int]]


CATALOGS = Place(Kind.CATALOG, {Kind.CATALOG: catalogs.c.id})
SCHEMAS = Place(Kind.SCHEMA, {Kind.SCHEMA: schemas.c.id, Kind.CATALOG: schemas.c.catalog_id})
MODELS = Place(Kind.MODEL, {Kind.MODEL: registered_models.c.id, Kind.SCHEMA: registered_models.c.schema_id})
EXPERIMENTS = Place(Kind.EXPERIMENT, {Kind.EXPERIMENT: experiments.c.experiment_id})
RUNS = Place(Kind.EXPERIMENT, {Kind.EXPERIMENT: runs.c.experiment_id})
LOGGED_MODELS = Place(Kind.EXPERIMENT, {Kind.EXPERIMENT: logged_models.c.experiment_id})
DATASETS = Place(Kind.EXPERIMENT, {Kind.EXPERIMENT: datasets.c.experiment_id})


def visible(who: Principal, place: Place, wanted: Privilege = SEE) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a list that is to hold only rows on which `who` has `wanted`."""
    if who.is_admin:
        return ()
    return (_condition(place, wanted, _grant.principal_id.in_(who.grantees_for(wanted)), of_one=False),)


def held(
    query: Select[Any], who: Principal, place: Place, wanted: Privilege, *, named: str | None = None
) -> Select[Any]:
    """The query for one row, with the columns by which `admit` judges.

    What is wanted for an alias or a stage is wanted for that one, which is `named`: a grant may be limited to some.
    """
    if who.is_admin:
        return query
    seen = _condition(place, SEE, _grant.principal_id.in_(who.grantees_for(SEE)), of_one=True).label("is_seen")
    if wanted == SEE:
        return query.add_columns(seen)
    of_caller: ColumnElement[bool] = _grant.principal_id.in_(who.grantees_for(wanted))
    if wanted in NAMED:
        of_caller = and_(of_caller, _holds_for(named))
    return query.add_columns(seen, _condition(place, wanted, of_caller, of_one=True).label("is_allowed"))


def admit(who: Principal, wanted: Privilege, row: RowMapping | None, missing: TiltyardError, what: str) -> RowMapping:
    """The row that was found with the columns of `held`, if `who` may do that to it.

    Raises:
        TiltyardError: `missing`, when there is no row, or none that `who` may see.
        PermissionDenied: they see it, and have not what is wanted on `what`.
    """
    if row is None or not (who.is_admin or row["is_seen"]):
        raise missing
    if not (who.is_admin or wanted == SEE or row["is_allowed"]):
        raise denied(who, wanted, what)
    return row


def sees(who: Principal, row: RowMapping) -> bool:
    """Whether `who` may see a row that was found with the columns of `held`."""
    return who.is_admin or bool(row["is_seen"])


def allows(who: Principal, row: RowMapping) -> bool:
    """Whether `who` has what was wanted of a row that was found with the columns of `held`."""
    return who.is_admin or bool(row["is_allowed"])


async def require(session: Session, who: Principal, wanted: Privilege) -> None:
    """Passes if `who` has a privilege on the root, below which everything lies.

    Raises:
        PermissionDenied: they have not.
    """
    if not await has(session, who, wanted):
        raise denied(who, wanted, "the registry")


async def has(session: Session, who: Principal, wanted: Privilege) -> bool:
    """Whether `who` has a privilege on the root."""
    if who.is_admin:
        return True
    root = Place(Kind.ROOT, {})
    of_caller = _grant.principal_id.in_(who.grantees_for(wanted))
    return bool(await session.scalar(select(_condition(root, wanted, of_caller, of_one=True))))


async def own(session: Session, who: Principal, kind: Kind, id: int) -> None:
    """Makes `who` the owner of what they have just created."""
    if who.id is not None:
        await session.execute(
            insert(grants).values(
                principal_id=who.id,
                securable_type=int(kind),
                securable_id=id,
                privilege=int(Privilege.OWNER),
                granted_by=who.name,
                granted_at=now_ms(),
            )
        )


async def forget(session: Session, kind: Kind, ids: Sequence[int]) -> None:
    """Removes what was granted on securables that are deleted by the same transaction."""
    of_kind = _grant.securable_type == int(kind)
    await session.execute(delete(grants).where(of_kind, rowsets.among(session, _grant.securable_id, ids)))


def denied(who: Principal, wanted: Privilege, what: str) -> PermissionDenied:
    """The error that says which privilege is missing on what, or that a token is not for it."""
    if not who.may_use(wanted):
        return PermissionDenied(
            f"The token of '{who.name}' is not for what takes {wanted.name}: its scopes leave it out."
        )
    return PermissionDenied(f"Principal '{who.name}' lacks {wanted.name} on {what[:300]}.")


def visible_sql(
    who: Principal, table: Table, wanted: Privilege, number: int, *, is_sqlite: bool
) -> tuple[str, list[Any]]:
    """`visible` as text that ends a WHERE, and the value of the parameter `number`, if it has one."""
    if who.is_admin:
        return "", []
    counting = who.grantees_for(wanted)
    grantees: Any = json.dumps(counting) if is_sqlite else list(counting)
    of_caller = _OF_CALLER_SQLITE if is_sqlite else _OF_CALLER_POSTGRESQL
    return _text(table, wanted, of_caller.format(number)), [grantees]


@cache
def _text(table: Table, wanted: Privilege, of_caller: str) -> str:
    place = {runs: RUNS, experiments: EXPERIMENTS, registered_models: MODELS}[table]
    # Within a statement over that table, for the condition to name its row.
    condition = _condition(place, wanted, literal_column(of_caller, Boolean), of_one=True)
    whole: Select[Any] = select(literal_column("1")).select_from(table).where(condition)
    statement = str(whole.compile(dialect=_POSTGRESQL, compile_kwargs={"literal_binds": True}))
    return f" AND ({statement.partition('WHERE ')[2]})"


def _holds_for(named: str | None) -> ColumnElement[bool]:
    """Whether a grant holds for an alias or a stage; None is any of them. Its names are a JSON list of texts."""
    unlimited = _grant.names.is_(None)
    if named is None:
        return unlimited
    text = json.dumps(named, ensure_ascii=False)
    # What both databases can say: the list without the name is another text.
    return or_(unlimited, func.replace(_grant.names, text, "") != _grant.names)


def _condition(place: Place, wanted: Privilege, of_caller: ColumnElement[bool], of_one: bool) -> ColumnElement[bool]:
    return and_(
        *(
            or_(*(_granted(place, level, mask, of_caller, of_one) for level, mask in clause.items() if mask))
            for clause in clauses(place.kind, wanted)
        )
    )


def _granted(
    place: Place, level: Kind, mask: Privilege, of_caller: ColumnElement[bool], of_one: bool
) -> ColumnElement[bool]:
    """Whether one of the privileges in `mask` was granted on what a row belongs to at one level.

    Of one row each grant is looked up by its key. Of many the securables of the caller are collected once, and not
    looked up for each row and level.
    """
    fitting = (of_caller, _grant.securable_type == int(level), _grant.privilege.bitwise_and(int(mask)) != 0)
    if level is Kind.ROOT:
        return exists().where(*fitting).select_from(grants)
    securables = select(_grant.securable_id).where(*fitting)
    column = place.levels.get(level)
    if column is None:
        # Rows of models name their schema alone.
        schema = place.levels[Kind.SCHEMA]
        if of_one:
            on_catalog = (_schema.id == schema, _grant.securable_id == _schema.catalog_id)
            return exists().where(*fitting, *on_catalog).select_from(grants)
        return schema.in_(select(_schema.id).where(_schema.catalog_id.in_(securables)))
    if of_one:
        return exists().where(*fitting, _grant.securable_id == column).select_from(grants)
    return column.in_(securables)
