"""Grants as MLflow tells them: one level of a principal on an experiment, a model, or all experiments."""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

from sqlalchemy import and_, select

from tiltyard.errors import ResourceDoesNotExist
from tiltyard_registry.rules.access import Kind, Principal, Privilege
from tiltyard_registry.rules.principals.grants import names_of
from tiltyard_registry.rules.principals.levels import (
    NO_PERMISSIONS,
    kind_of,
    level_granted,
    level_that_counts,
    privileges_of,
    resource_of,
    told_by_levels,
)
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.store.principals.grants import GrantChange, change_grants, effective_grants
from tiltyard_registry.store.principals.principal_rows import PrincipalRow, find_principal
from tiltyard_registry.store.principals.principals import get_principal
from tiltyard_registry.store.principals.securables import ROOT_NAME, TYPE_OF
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.access import grants
from tiltyard_registry.tables.experiments import experiments
from tiltyard_registry.tables.models import registered_models


class LevelRow(NamedTuple):
    """The level that was granted to a principal on a resource itself, and the id of both together."""

    id: str
    principal_id: int
    resource_type: str
    resource_pattern: str
    permission: str


async def set_level(
    session: Session,
    who: Principal,
    kind: PrincipalKind,
    principal: str,
    resource_type: str,
    pattern: str,
    level: str | None,
) -> LevelRow | None:
    """Gives a user or a role a level on a resource in place of the one that they have there; None takes it back.

    On a model the way in is given along, and stays.

    Raises:
        ResourceDoesNotExist: there is no such resource that `who` may see, or nobody of that kind called so.
        PermissionDenied: they may not manage it.
        InvalidParameterValue: a type or a level that there is not.
    """
    place = kind_of(resource_type, pattern)
    added = Privilege(0) if level is None else privileges_of(place, level)
    change = GrantChange(principal, names_of(added), names_of(told_by_levels(place) & ~added))
    after = await change_grants(session, who, *_securable(place, pattern), [change], lets_in=True)
    # Looked at last: who may not grant here is not told who there is. A refusal undoes what was done.
    row = await find_principal(session, principal, kind=kind)
    of_them = [grant for grant in after if grant.principal == principal and grant.names is None]
    if not of_them:
        return None
    held = reduce(or_, (grant.privilege for grant in of_them))
    return _row(row["id"], place, of_them[0].securable.id, of_them[0].securable.name, held)


async def level_of(session: Session, who: Principal, user: str, resource_type: str, pattern: str) -> str:
    """The level that a user has on a resource, by whatever was granted to them and their groups.

    Raises:
        ResourceDoesNotExist: there is no such user whom `who` may see.
        InvalidParameterValue: there is no such type.
    """
    place = kind_of(resource_type, pattern)
    row = await get_principal(session, who, user, kind=PrincipalKind.USER)
    try:
        found = await effective_grants(session, who, *_securable(place, pattern), principal=user)
    except ResourceDoesNotExist:
        return NO_PERMISSIONS
    if row["is_admin"]:
        return "MANAGE"
    held: dict[Kind, Privilege] = {}
    for grant in found:
        if grant.names is None:
            kind = grant.securable.kind
            held[kind] = held.get(kind, Privilege(0)) | grant.privilege
    return level_that_counts(place, held)


async def levels_granted(session: Session, principals: Sequence[PrincipalRow]) -> list[LevelRow]:
    """What was granted to each of some principals themselves, where it comes to a level."""
    query = select(
        grants.c.principal_id,
        grants.c.securable_type,
        grants.c.securable_id,
        grants.c.privilege,
        registered_models.c.name.label("model"),
        experiments.c.experiment_id.label("experiment"),
    )
    query = query.select_from(
        grants.outerjoin(
            registered_models,
            and_(grants.c.securable_type == int(Kind.MODEL), grants.c.securable_id == registered_models.c.id),
        ).outerjoin(
            experiments,
            and_(grants.c.securable_type == int(Kind.EXPERIMENT), grants.c.securable_id == experiments.c.experiment_id),
        )
    )
    query = query.where(
        rowsets.among(session, grants.c.principal_id, [row["id"] for row in principals]),
        grants.c.securable_type.in_([int(kind) for kind in (Kind.ROOT, Kind.MODEL, Kind.EXPERIMENT)]),
        grants.c.names.is_(None),
    )
    order = (grants.c.principal_id, grants.c.securable_type, grants.c.securable_id)
    held: dict[tuple[int, Kind, int, str], Privilege] = {}
    for row in await session.all(query.order_by(*order)):
        kind = Kind(row["securable_type"])
        name = {Kind.ROOT: ROOT_NAME, Kind.MODEL: row["model"], Kind.EXPERIMENT: row["experiment"]}[kind]
        # Experiments that an older release purged left their grants behind.
        if name is not None:
            key = (row["principal_id"], kind, row["securable_id"], str(name))
            held[key] = held.get(key, Privilege(0)) | Privilege(row["privilege"])
    found = (_row(*key, privileges) for key, privileges in held.items())
    return [row for row in found if row is not None]


def _row(principal_id: int, kind: Kind, id: int, name: str, held: Privilege) -> LevelRow | None:
    level = level_granted(kind, held)
    if level == NO_PERMISSIONS:
        return None
    resource_type, pattern = resource_of(kind, name)
    # By the id of the securable, which another name does not change.
    key = f"{principal_id}/{resource_type}/{pattern if kind is Kind.ROOT else id}"
    return LevelRow(key, principal_id, resource_type, pattern, level)


def _securable(kind: Kind, pattern: str) -> tuple[str, str]:
    return TYPE_OF[kind], ROOT_NAME if kind is Kind.ROOT else pattern
