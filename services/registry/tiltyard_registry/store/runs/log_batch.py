"""Logging to a run: params, metrics and tags, one at a time or as one batch that is stored whole or not at all."""

from collections.abc import Sequence

from sqlalchemy import RowMapping, delete, select, update

from tiltyard.errors import BadRequest, InvalidParameterValue, ResourceDoesNotExist
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.entries import (
    Entry,
    check_param,
    check_params,
    check_run_tag,
    check_run_tags,
    last_of_each,
    params_changed,
)
from tiltyard_registry.rules.keys import brief
from tiltyard_registry.rules.metrics import GivenPoint, Point, check_batch, check_point, check_points, newest
from tiltyard_registry.rules.runs import RUN_NAME_TAG
from tiltyard_registry.store.experiments.quotas import limited
from tiltyard_registry.store.runs.runs import find_active_run, set_tag_rows
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.experiments import logged_model_metrics, logged_models
from tiltyard_registry.tables.runs import latest_metrics, run_tags, runs
from tiltyard_registry.tables.runs import metrics as metric_rows
from tiltyard_registry.tables.runs import params as param_rows

_POINT = ("key", "timestamp", "step", "value", "is_nan")
_AGE = ("step", "timestamp", "value", "is_nan")
_OF_MODEL = ("model_id", *_POINT, "dataset_name", "dataset_digest")


async def log_batch(
    session: Session,
    who: Principal,
    run_id: str,
    *,
    metrics: Sequence[GivenPoint] = (),
    params: Sequence[Entry] = (),
    tags: Sequence[Entry] = (),
) -> None:
    """Stores all of it, or nothing; repeating it changes nothing.

    Raises:
        ResourceDoesNotExist: there is no such run.
        InvalidParameterValue: the run is deleted, a limit or rule is broken, or a param would change.
        BadRequest: a metric names a logged model that does not exist.
        ResourceLimitExceeded: the run would hold more than its quotas let it.
    """
    check_batch(len(metrics), len(params), len(tags))
    points, new_params, new_tags = check_points(metrics), check_params(params), check_run_tags(tags)
    run = await find_active_run(session, who, Privilege.EDIT, run_id)
    changed = await _add_params(session, run["id"], new_params)
    if changed:
        raise params_changed(changed, f"run ID='{run_id}'")
    await _add_points(session, run, points)
    await _set_tags(session, run["id"], new_tags)


async def log_metric(session: Session, who: Principal, run_id: str, point: GivenPoint) -> None:
    """Stores one point; the same point again changes nothing.

    Raises:
        InvalidParameterValue: as `log_batch`.
    """
    checked = check_point(point)
    run = await find_active_run(session, who, Privilege.EDIT, run_id)
    await _add_points(session, run, [checked])


async def log_param(session: Session, who: Principal, run_id: str, key: str, value: str) -> None:
    """Stores one param, which never changes afterwards; the same value again is fine.

    Raises:
        InvalidParameterValue: the key has another value already.
    """
    param = check_param(key, value)
    run = await find_active_run(session, who, Privilege.EDIT, run_id)
    for changed in await _add_params(session, run["id"], [param]):
        raise InvalidParameterValue(
            f"Changing param values is not allowed. Param with key='{brief(key)}' was already logged with "
            f"value='{brief(changed['old_value'])}' for run ID='{run_id}'. "
            f"Attempted logging new value '{brief(changed['new_value'])}'."
        )


async def set_tag(session: Session, who: Principal, run_id: str, key: str, value: str) -> None:
    """Sets one tag; the tag `mlflow.runName` is the run's name."""
    tag = check_run_tag(key, value)
    run = await find_active_run(session, who, Privilege.EDIT, run_id)
    await _set_tags(session, run["id"], [tag])


async def delete_tag(session: Session, who: Principal, run_id: str, key: str) -> None:
    """Removes one tag.

    Raises:
        ResourceDoesNotExist: the run has no such tag.
    """
    run = await find_active_run(session, who, Privilege.EDIT, run_id)
    gone = await session.scalar(
        delete(run_tags).where(run_tags.c.run == run["id"], run_tags.c.key == key).returning(run_tags.c.key)
    )
    if gone is None:
        raise ResourceDoesNotExist(f"No tag with name: {brief(key)} in run with id {run_id}")


async def _add_params(session: Session, run: int, params: Sequence[Entry]) -> list[dict[str, str]]:
    """The params that have another value already; the caller refuses if there are any."""
    if not params:
        return []
    keys, values = map(list, zip(*sorted(params), strict=True))
    async with limited(session, "params", run):
        await rowsets.insert_missing(session, param_rows, {"run": run, "key": keys, "value": values})
    table = param_rows.c
    stored = await session.execute(
        select(table.key, table.value).where(table.run == run, rowsets.among(session, table.key, keys))
    )
    known = {row.key: row.value for row in stored}
    return [
        {"key": param.key, "old_value": known[param.key], "new_value": param.value}
        for param in params
        if known[param.key] != param.value
    ]


async def _add_points(session: Session, run: RowMapping, points: Sequence[Point]) -> None:
    """Adds the points to the history, moves the newest of each key, and mirrors those of logged models.

    Points that are there already are left alone. Nothing is read first, so writers do not wait for each other
    except for the rows of a key they both write.

    Raises:
        BadRequest: a point names a logged model that does not exist.
    """
    if not points:
        return
    async with limited(session, "metric_points", run["id"]):
        await _write_points(session, run["id"], run["run_id"], points)


async def _write_points(session: Session, run: int, run_id: str, points: Sequence[Point]) -> None:
    # One order for all, so that two batches with the same keys cannot wait for each other in a circle.
    ordered = sorted(points, key=lambda point: (point.key, point.timestamp, point.step, point.value, point.is_nan))
    await rowsets.insert_missing(session, metric_rows, {"run": run, **_columns(ordered, _POINT)})
    await rowsets.keep_newer(session, latest_metrics, {"run": run, **_columns(newest(points), _POINT)}, by=_AGE)
    of_models = sorted(point for point in points if point.model_id)
    if of_models:
        await _check_models(session, {point.model_id for point in of_models})
        await rowsets.insert_missing(
            session, logged_model_metrics, {"run_id": run_id, **_columns(of_models, _OF_MODEL)}
        )


def _columns(points: Sequence[Point], names: tuple[str, ...]) -> dict[str, list[object]]:
    return {name: [getattr(point, name) for point in points] for name in names}


async def _check_models(session: Session, model_ids: set[str]) -> None:
    statement = select(logged_models.c.model_id).where(
        rowsets.among(session, logged_models.c.model_id, sorted(model_ids))
    )
    missing = model_ids - set((await session.execute(statement)).scalars())
    if missing:
        raise BadRequest(f"Logged model with ID '{min(missing)[:80]}' not found; a metric names it as 'model_id'.")


async def _set_tags(session: Session, run: int, tags: Sequence[Entry]) -> None:
    kept = last_of_each(tags)
    name = next((tag.value for tag in kept if tag.key == RUN_NAME_TAG), None)
    if name:
        await session.execute(update(runs).where(runs.c.id == run).values(run_name=name))
    # A run always has a name: an empty one is not taken. Source: upstream's `set_tag`.
    await set_tag_rows(session, run, [tag for tag in kept if tag.key != RUN_NAME_TAG or tag.value])
