"""Experiments: the doors to create, find, rename, tag, delete and restore them."""

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack, cast

from sqlalchemy import RowMapping, bindparam, insert, select, text, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError

from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists, ResourceDoesNotExist
from tiltyard_registry.rules.access import Kind, Principal, Privilege
from tiltyard_registry.rules.entries import Entry, check_experiment_tag, last_of_each
from tiltyard_registry.rules.experiments import (
    ARTIFACT_ROOT,
    MAX_COUNTED_ID,
    below,
    check_artifact_location,
    check_experiment_name,
    parse_experiment_id,
)
from tiltyard_registry.rules.keys import brief
from tiltyard_registry.rules.lifecycle import ACTIVE, DELETED, lifecycle_stages
from tiltyard_registry.rules.limits import check_entries
from tiltyard_registry.search import EXPERIMENTS, Asked, Page
from tiltyard_registry.store import access
from tiltyard_registry.store.events.outbox import deletion_time
from tiltyard_registry.store.experiments.logged_model_data import read_entries
from tiltyard_registry.store.experiments.quotas import limited
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.experiments import experiment_tags, experiments
from tiltyard_registry.tables.runs import runs

# SQLite would number on from the greatest id there is, also from one that came with an import.
_NEXT_OF_SQLITE = text(
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'experiments' AND seq <= :counted), "
    "(SELECT max(experiment_id) FROM experiments WHERE experiment_id <= :counted), 0) + 1"
)
_FREE_OF_POSTGRESQL = text(
    "SELECT setval(sequence, greatest(coalesce(pg_sequence_last_value(sequence), 1), "
    "(SELECT max(experiment_id) FROM experiments WHERE experiment_id <= :counted), 1)) "
    "FROM (SELECT pg_get_serial_sequence('experiments', 'experiment_id')::regclass AS sequence) AS named"
)
_FREE_OF_SQLITE = text(
    "UPDATE sqlite_sequence SET seq = "
    "(SELECT coalesce(max(experiment_id), 0) FROM experiments WHERE experiment_id <= :counted) "
    "WHERE name = 'experiments' AND seq > :counted"
)
_BY_ID = select(experiments).where(experiments.c.experiment_id == bindparam("experiment_id"))
_BY_NAME = select(experiments).where(experiments.c.name == bindparam("name"))


class ExperimentRow(TypedDict):
    """An experiment with its tags."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    creation_time: int
    last_update_time: int
    tags: list[dict[str, str]]


async def create_experiment(
    session: Session,
    who: Principal,
    name: str,
    *,
    artifact_location: str | None = None,
    tags: Sequence[Entry] = (),
) -> str:
    """The id of the new experiment.

    Raises:
        ResourceAlreadyExists: an experiment, active or deleted, has the name.
        InvalidParameterValue: the name, the location or a tag breaks a rule.
    """
    check_experiment_name(name)
    await access.require(session, who, Privilege.CREATE_EXPERIMENT)
    location = check_artifact_location(artifact_location) if artifact_location else ""
    check_entries(session.quotas, "tags", len(tags))
    entries = last_of_each([check_experiment_tag(*tag) for tag in tags])
    now = now_ms()
    row: dict[str, Any] = {"name": name, "artifact_location": location, "creation_time": now, "last_update_time": now}
    if session.is_sqlite:
        row["experiment_id"] = await session.scalar(_NEXT_OF_SQLITE, {"counted": MAX_COUNTED_ID})
    try:
        async with session.connection.begin_nested():
            experiment_id = await session.scalar(insert(experiments).values(row).returning(experiments.c.experiment_id))
    except IntegrityError:
        raise ResourceAlreadyExists(f"Experiment(name={name}) already exists.") from None
    if not location:
        await session.execute(
            update(experiments)
            .where(experiments.c.experiment_id == experiment_id)
            .values(artifact_location=below(ARTIFACT_ROOT, str(experiment_id)))
        )
    await access.own(session, who, Kind.EXPERIMENT, experiment_id)
    await _set_tags(session, experiment_id, entries)
    return str(experiment_id)


async def free_new_ids(session: Session) -> None:
    """Has new experiments numbered behind those that came with their ids, but for the ids that nobody counted."""
    statement = _FREE_OF_SQLITE if session.is_sqlite else _FREE_OF_POSTGRESQL
    await session.execute(statement, {"counted": MAX_COUNTED_ID})


async def get_experiment(session: Session, who: Principal, experiment_id: str) -> ExperimentRow:
    """The experiment, active or deleted.

    Raises:
        ResourceDoesNotExist: there is none with this id.
    """
    row = await find_experiment(session, who, Privilege.READ, experiment_id)
    return (await with_tags(session, [row]))[0]


async def get_experiment_by_name(session: Session, who: Principal, name: str) -> ExperimentRow:
    """The experiment of this name, active or deleted.

    Raises:
        ResourceDoesNotExist: there is none.
    """
    query = access.held(_BY_NAME, who, access.EXPERIMENTS, Privilege.READ)
    row = await session.one(query, {"name": name}) if "\x00" not in name else None
    missing = ResourceDoesNotExist(f"Could not find experiment with name '{brief(name)}'")
    row = access.admit(who, Privilege.READ, row, missing, f"experiment {name}")
    return (await with_tags(session, [row]))[0]


async def search_experiments(
    session: Session,
    who: Principal,
    *,
    view_type: str | int | None = None,
    filter: str | None = None,
    **asked: Unpack[Asked],
) -> tuple[list[ExperimentRow], str | None]:
    """One page of experiments, and the token of the next.

    Raises:
        InvalidParameterValue: the filter, the order, the token, the view or the page size is not right.
    """
    shown = lifecycle_stages(view_type)
    page = Page(EXPERIMENTS, dialect=session.dialect, filter=filter, within=shown, **asked)
    seen = access.visible(who, access.EXPERIMENTS, Privilege.READ)
    query = select(experiments).where(experiments.c.lifecycle_stage.in_(shown), *seen)
    rows, next_page_token = await page.read(query, session.all)
    return await with_tags(session, rows), next_page_token


async def rename_experiment(session: Session, who: Principal, experiment_id: str, new_name: str) -> None:
    """Gives an active experiment another name.

    Raises:
        InvalidParameterValue: the experiment is deleted, or the name breaks a rule.
        ResourceAlreadyExists: another experiment has the name.
    """
    check_experiment_name(new_name, parameter="new_name")
    row = await find_experiment(session, who, Privilege.MANAGE, experiment_id)
    if row["lifecycle_stage"] != ACTIVE:
        raise InvalidParameterValue("Cannot rename a non-active experiment.")
    try:
        async with session.connection.begin_nested():
            await session.execute(
                update(experiments)
                .where(experiments.c.experiment_id == row["experiment_id"])
                .values(name=new_name, last_update_time=now_ms())
            )
    except IntegrityError:
        raise ResourceAlreadyExists(f"Experiment(name={new_name}) already exists.") from None


async def delete_experiment(session: Session, who: Principal, experiment_id: str) -> None:
    """Marks an active experiment and all its runs deleted.

    Raises:
        ResourceDoesNotExist: there is none, or it is deleted already.
    """
    number = await _move(session, who, experiment_id, ACTIVE, DELETED)
    await session.execute(
        update(runs)
        .where(runs.c.experiment_id == number, runs.c.lifecycle_stage == ACTIVE)
        .values(lifecycle_stage=DELETED, deleted_time=deletion_time())
    )


async def restore_experiment(session: Session, who: Principal, experiment_id: str) -> None:
    """Makes a deleted experiment active again, and all its runs, those deleted on their own too.

    Raises:
        ResourceDoesNotExist: there is none, or it is active.
    """
    number = await _move(session, who, experiment_id, DELETED, ACTIVE)
    async with limited(session, "runs", number):
        await session.execute(
            update(runs)
            .where(runs.c.experiment_id == number, runs.c.lifecycle_stage == DELETED)
            .values(lifecycle_stage=ACTIVE, deleted_time=None)
        )


async def set_experiment_tag(session: Session, who: Principal, experiment_id: str, key: str, value: str) -> None:
    """Sets one tag of an active experiment."""
    entry = check_experiment_tag(key, value)
    row = await find_active_experiment(session, who, Privilege.EDIT, experiment_id)
    await _set_tags(session, row["experiment_id"], [entry])


async def delete_experiment_tag(session: Session, who: Principal, experiment_id: str, key: str) -> None:
    """Removes one tag of an active experiment.

    Raises:
        ResourceDoesNotExist: it has no such tag.
    """
    row = await find_active_experiment(session, who, Privilege.EDIT, experiment_id)
    gone = await session.scalar(
        delete_from(experiment_tags)
        .where(experiment_tags.c.experiment_id == row["experiment_id"], experiment_tags.c.key == key)
        .returning(experiment_tags.c.key)
    )
    if gone is None:
        raise ResourceDoesNotExist(f"No tag with name: {brief(key)} in experiment with id {experiment_id}")


async def find_experiment(session: Session, who: Principal, wanted: Privilege, experiment_id: str) -> RowMapping:
    """The experiment's own row, for somebody who wants to do something to it.

    Raises:
        ResourceDoesNotExist: there is none with this id that `who` may see.
        PermissionDenied: they may not do it.
    """
    number = parse_experiment_id(experiment_id)
    query = access.held(_BY_ID, who, access.EXPERIMENTS, wanted)
    row = await session.one(query, {"experiment_id": number})
    return access.admit(who, wanted, row, _missing(experiment_id), f"experiment {number}")


async def find_active_experiment(session: Session, who: Principal, wanted: Privilege, experiment_id: str) -> RowMapping:
    """As `find_experiment`, of one that is not deleted.

    Raises:
        InvalidParameterValue: it is deleted.
    """
    row = await find_experiment(session, who, wanted, experiment_id)
    if row["lifecycle_stage"] != ACTIVE:
        raise InvalidParameterValue(
            f"The experiment {row['experiment_id']} must be in the 'active' state. "
            f"Current state is {row['lifecycle_stage']}."
        )
    return row


async def with_tags(session: Session, rows: Sequence[RowMapping]) -> list[ExperimentRow]:
    """The experiments as the wire shows them, their tags read in one statement."""
    shown: dict[int, ExperimentRow] = {}
    for row in rows:
        number = row["experiment_id"]
        shown[number] = cast(ExperimentRow, {**row, "experiment_id": str(number), "tags": []})
    if shown:
        lists = {number: experiment["tags"] for number, experiment in shown.items()}
        await read_entries(session, lists, experiment_tags.c.experiment_id)
    return list(shown.values())


async def _move(session: Session, who: Principal, experiment_id: str, old: str, new: str) -> int:
    number = int((await find_experiment(session, who, Privilege.MANAGE, experiment_id))["experiment_id"])
    moved = await session.scalar(
        update(experiments)
        .where(experiments.c.experiment_id == number, experiments.c.lifecycle_stage == old)
        .values(lifecycle_stage=new, last_update_time=deletion_time() if new == DELETED else now_ms())
        .returning(experiments.c.experiment_id)
    )
    if moved is None:
        raise _missing(experiment_id)
    return number


async def _set_tags(session: Session, experiment_id: int, tags: Sequence[Entry]) -> None:
    if tags:
        keys, values = map(list, zip(*tags, strict=True))
        await rowsets.overwrite(
            session, experiment_tags, {"experiment_id": experiment_id, "key": keys, "value": values}
        )


def _missing(experiment_id: str) -> ResourceDoesNotExist:
    return ResourceDoesNotExist(f"No Experiment with id={brief(experiment_id.strip())} exists")
