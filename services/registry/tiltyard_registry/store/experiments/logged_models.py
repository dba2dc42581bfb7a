"""Logged models: the doors to create, finish, read, tag and delete them."""

import json
import uuid
from collections.abc import Sequence
from typing import Any, Unpack

from sqlalchemy import RowMapping, bindparam, delete, insert, select, update

from tiltyard.errors import ResourceDoesNotExist
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.entries import (
    Entry,
    check_logged_model_entry,
    check_param_keys_differ,
    last_of_each,
    list_in,
    params_changed,
)
from tiltyard_registry.rules.experiments import (
    MAX_MODEL_TYPE_CHARS,
    MAX_RUN_ID_CHARS,
    below,
    check_logged_model_name,
    parse_experiment_id,
)
from tiltyard_registry.rules.keys import check_length, missing
from tiltyard_registry.rules.lifecycle import ACTIVE, DELETED, PURGING, logged_model_status
from tiltyard_registry.rules.limits import check_entries
from tiltyard_registry.rules.run_names import invent
from tiltyard_registry.search import LOGGED_MODELS, Asked, Dataset, Page
from tiltyard_registry.store import access
from tiltyard_registry.store.events.outbox import deletion_time
from tiltyard_registry.store.experiments.experiments import find_active_experiment
from tiltyard_registry.store.experiments.logged_model_data import LoggedModelRow, with_data
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session, now_ms
from tiltyard_registry.tables.experiments import logged_model_params, logged_model_tags, logged_models

REGISTRATIONS_TAG = "mlflow.modelVersions"
PENDING = "LOGGED_MODEL_PENDING"

_BY_ID = select(logged_models).where(logged_models.c.model_id == bindparam("model_id"))


async def create_logged_model(
    session: Session,
    who: Principal,
    experiment_id: str,
    *,
    name: str | None = None,
    model_type: str = "",
    source_run_id: str = "",
    params: Sequence[Entry] = (),
    tags: Sequence[Entry] = (),
) -> LoggedModelRow:
    """The new logged model, PENDING until finalized. A name is invented when none came; names may repeat.

    Raises:
        ResourceDoesNotExist: there is no such experiment.
        InvalidParameterValue: the experiment is deleted, or a value breaks a rule.
    """
    checked_name = check_logged_model_name(name) if name is not None else invent()
    check_entries(session.quotas, "params", len(params))
    check_entries(session.quotas, "tags", len(tags))
    new_params, new_tags = _checked(params, "params"), _checked(tags, "tags")
    check_param_keys_differ(new_params)
    experiment = await find_active_experiment(session, who, Privilege.EDIT, experiment_id)
    model_id = f"m-{uuid.uuid4().hex}"
    now = now_ms()
    row = {
        "model_id": model_id,
        "experiment_id": experiment["experiment_id"],
        "name": checked_name,
        "artifact_uri": below(experiment["artifact_location"], "models", model_id, "artifacts"),
        "creation_timestamp_ms": now,
        "last_updated_timestamp_ms": now,
        "status": PENDING,
        "model_type": check_length(model_type, MAX_MODEL_TYPE_CHARS, "model_type"),
        "source_run_id": check_length(source_run_id, MAX_RUN_ID_CHARS, "source_run_id"),
    }
    await session.execute(insert(logged_models).values(row))
    await _write(session, logged_model_params, model_id, new_params)
    await _write(session, logged_model_tags, model_id, last_of_each(new_tags))
    return await _shown(session, model_id)


async def get_logged_model(
    session: Session, who: Principal, model_id: str, *, allow_deleted: bool = False
) -> LoggedModelRow:
    """The logged model with params, tags, metrics and where it is registered.

    Raises:
        ResourceDoesNotExist: there is none, or it is deleted and `allow_deleted` is false.
    """
    row = await find_logged_model(session, who, Privilege.READ, model_id)
    if row["lifecycle_stage"] != ACTIVE and not allow_deleted:
        raise _missing(model_id)
    return (await with_data(session, [row]))[0]


async def search_logged_models(
    session: Session,
    who: Principal,
    experiment_ids: Sequence[str],
    *,
    filter: str | None = None,
    datasets: Sequence[Dataset] = (),
    **asked: Unpack[Asked],
) -> tuple[list[LoggedModelRow], str | None]:
    """One page of the active logged models of these experiments, and the token of the next.

    Raises:
        InvalidParameterValue: no experiment; or the filter, the order, the token or the page size is not right.
    """
    if not experiment_ids:
        raise missing("experiment_ids")
    wanted = sorted({parse_experiment_id(experiment_id) for experiment_id in experiment_ids})
    page = Page(LOGGED_MODELS, dialect=session.dialect, filter=filter, within=wanted, datasets=datasets, **asked)
    query = select(logged_models).where(
        rowsets.among(session, logged_models.c.experiment_id, wanted),
        logged_models.c.lifecycle_stage == ACTIVE,
        *access.visible(who, access.LOGGED_MODELS, Privilege.READ),
    )
    rows, next_page_token = await page.read(query, session.all)
    return await with_data(session, rows), next_page_token


async def finalize_logged_model(session: Session, who: Principal, model_id: str, status: str | int) -> LoggedModelRow:
    """The logged model in its new status.

    Raises:
        ResourceDoesNotExist: there is none.
        InvalidParameterValue: the status is none.
    """
    await _change(session, who, model_id, {"status": logged_model_status(status)})
    return await _shown(session, model_id)


async def delete_logged_model(session: Session, who: Principal, model_id: str) -> None:
    """Marks the logged model deleted; its files, and versions registered from it, stay."""
    deleted = {"lifecycle_stage": DELETED, "last_updated_timestamp_ms": deletion_time()}
    await _change(session, who, model_id, deleted)


async def set_logged_model_tags(session: Session, who: Principal, model_id: str, tags: Sequence[Entry]) -> None:
    """Sets the tags; others stay."""
    check_entries(session.quotas, "tags", len(tags))
    checked = _checked(tags, "tags")
    await find_logged_model(session, who, Privilege.EDIT, model_id)
    await _write(session, logged_model_tags, model_id, last_of_each(checked))


async def delete_logged_model_tag(session: Session, who: Principal, model_id: str, key: str) -> None:
    """Removes one tag.

    Raises:
        ResourceDoesNotExist: there is no such logged model, or it has no such tag.
    """
    await find_logged_model(session, who, Privilege.EDIT, model_id)
    table = logged_model_tags.c
    gone = None
    if "\x00" not in key:
        gone = await session.scalar(
            delete(logged_model_tags).where(table.model_id == model_id, table.key == key).returning(table.key)
        )
    if gone is None:
        raise ResourceDoesNotExist(f"No tag with key {key[:300]!r} found for model with ID {model_id!r}.")


async def log_logged_model_params(session: Session, who: Principal, model_id: str, params: Sequence[Entry]) -> None:
    """Stores params, which never change afterwards; the same value again is fine.

    Raises:
        ResourceDoesNotExist: there is no such logged model.
        InvalidParameterValue: a key has another value already, comes twice, or a value breaks a rule.
    """
    check_entries(session.quotas, "params", len(params))
    checked = _checked(params, "params")
    check_param_keys_differ(checked)
    await find_logged_model(session, who, Privilege.EDIT, model_id)
    await _write(session, logged_model_params, model_id, checked)
    table = logged_model_params.c
    wanted = dict(checked)
    stored = await session.execute(
        select(table.key, table.value).where(
            table.model_id == model_id, rowsets.among(session, table.key, sorted(wanted))
        )
    )
    changed = [
        {"key": row.key, "old_value": row.value, "new_value": wanted[row.key]}
        for row in stored
        if row.value != wanted[row.key]
    ]
    if changed:
        raise params_changed(changed, f"model ID='{model_id}'")


async def record_registration(session: Session, model_id: str, name: str, version: int) -> None:
    """Notes on the logged model, as upstream does, that a version was registered from it.

    The tag holds a JSON list that clients write too; one that is not a list is replaced.
    """
    await session.lock(f"logged model {model_id}")
    table = logged_model_tags.c
    text = await session.scalar(select(table.value).where(table.model_id == model_id, table.key == REGISTRATIONS_TAG))
    known = list_in(text)
    entry = {"name": name, "version": version}
    if entry not in known:
        value = json.dumps([*known, entry])
        await _write(session, logged_model_tags, model_id, [Entry(REGISTRATIONS_TAG, value)])


async def find_logged_model(session: Session, who: Principal, wanted: Privilege, model_id: str) -> RowMapping:
    """The logged model's own row, deleted or not, for somebody who wants to do something to its experiment.

    Raises:
        ResourceDoesNotExist: there is none that `who` may see.
        PermissionDenied: they may not do it.
    """
    query = access.held(_BY_ID, who, access.LOGGED_MODELS, wanted)
    row = await session.one(query, {"model_id": model_id}) if "\x00" not in model_id else None
    return access.admit(who, wanted, row, _missing(model_id), f"the experiment of logged model {model_id}")


async def _shown(session: Session, model_id: str) -> LoggedModelRow:
    """A logged model as this transaction has left it."""
    return (await with_data(session, await session.all(_BY_ID, {"model_id": model_id})))[0]


async def _change(session: Session, who: Principal, model_id: str, values: dict[str, Any]) -> None:
    await find_logged_model(session, who, Privilege.EDIT, model_id)
    changed = await session.scalar(
        update(logged_models)
        .where(logged_models.c.model_id == model_id, logged_models.c.lifecycle_stage != PURGING)
        .values({"last_updated_timestamp_ms": now_ms(), **values})
        .returning(logged_models.c.model_id)
    )
    if changed is None:
        raise _missing(model_id)


async def _write(session: Session, table: Any, model_id: str, entries: Sequence[Entry]) -> None:
    if entries:
        keys, values = map(list, zip(*sorted(entries), strict=True))
        write = rowsets.overwrite if table is logged_model_tags else rowsets.insert_missing
        await write(session, table, {"model_id": model_id, "key": keys, "value": values})


def _checked(entries: Sequence[Entry], path: str) -> list[Entry]:
    return [check_logged_model_entry(*entry, path=f"{path}[{index}]") for index, entry in enumerate(entries)]


def _missing(model_id: str) -> ResourceDoesNotExist:
    return ResourceDoesNotExist(f"Logged model with ID '{model_id[:300]}' not found.")
