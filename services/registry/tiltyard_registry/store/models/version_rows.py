"""Rows of model versions: how one is found for a change, changed, and shown."""

from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, select, update

from tiltyard.errors import ResourceDoesNotExist, TiltyardError
from tiltyard.names import check_version, parse_model_name
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.store import access
from tiltyard_registry.store.models import related_rows
from tiltyard_registry.store.models.model_rows import find_model, lock_model, no_model
from tiltyard_registry.store.models.related_rows import VersionRow
from tiltyard_registry.store.sql.session import Found, Session, now_ms
from tiltyard_registry.tables.models import model_versions, registered_models

_version = model_versions.c


async def lock_version(
    session: Session, who: Principal, wanted: Privilege, name: str, version: str | int, *, named: str | None = None
) -> tuple[RowMapping, RowMapping]:
    """The rows of the model and of its version; other changes to either wait for this transaction.

    `named` is the stage that something is wanted for, if it is one's.

    Raises:
        PermissionDenied: `who` may not do to the model what is wanted.
        ResourceDoesNotExist: the model or the version is missing.
        InvalidParameterValue: the version is not a number.
    """
    number = check_version(version)
    model = await lock_model(session, who, wanted, name, named=named)
    row = await session.one(
        select(model_versions).where(_version.registered_model_id == model["id"], _version.version == number)
    )
    if row is None:
        raise no_version(model["name"], version)
    return model, row


async def find_version(
    session: Session, who: Principal, wanted: Privilege, name: str, which: Select[Any], missing: TiltyardError
) -> RowMapping:
    """The first row of `which`, a query for versions of the model of that name; `missing` is raised when it has none.

    Raises:
        PermissionDenied: `who` may not do to the model what is wanted.
        ResourceDoesNotExist: there is no model that `who` may see.
    """
    shown = parse_model_name(name).shown
    named = which.where(registered_models.c.name == shown)
    row = await session.one(access.held(named, who, access.MODELS, wanted))
    if row is None:
        await find_model(session, who, wanted, shown)
        raise missing
    return access.admit(who, wanted, row, no_model(shown), f"registered model {shown}")


async def change_version(session: Session, who: Principal, row: Found, **values: Any) -> None:
    """Sets columns of a version, and when and by whom it was changed."""
    stamp = {"last_updated_timestamp": now_ms(), "updated_by": who.name}
    await session.execute(update(model_versions).where(is_version(row)).values(**values, **stamp))


async def shown_version(session: Session, row: Found) -> VersionRow:
    """The version as it is in this transaction, with tags and aliases."""
    return (await related_rows.version_rows(session, await session.all(related_rows.VERSIONS.where(is_version(row)))))[
        0
    ]


def is_version(row: Found) -> ColumnElement[bool]:
    """Whether a row of `model_versions` is that version."""
    return and_(_version.registered_model_id == row["registered_model_id"], _version.version == row["version"])


def no_version(shown: str, version: str | int) -> ResourceDoesNotExist:
    """The error that says that a model has no such version."""
    return ResourceDoesNotExist(f"Model Version (name={shown}, version={version}) not found")
