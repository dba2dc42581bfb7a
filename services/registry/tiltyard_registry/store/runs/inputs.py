"""What a run read and made: datasets and logged models as inputs, logged models as outputs."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from sqlalchemy import and_, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.entries import Entry, check_input_tag, last_of_each
from tiltyard_registry.rules.experiments import parse_experiment_id
from tiltyard_registry.rules.keys import check_int64, check_length
from tiltyard_registry.rules.metrics import MAX_DATASET_DIGEST_CHARS, MAX_DATASET_NAME_CHARS
from tiltyard_registry.search.fields import DATASET_CONTEXT_TAG
from tiltyard_registry.store import access
from tiltyard_registry.store.runs.runs import find_active_run
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.runs import dataset_input_tags, dataset_inputs, datasets, model_inputs, model_outputs

MAX_DATASETS = 1000
MAX_MODELS = 1000
MAX_SUMMARIES = 1000
MAX_SUMMARY_EXPERIMENTS = 20
_LIMITS = {
    "name": MAX_DATASET_NAME_CHARS,
    "digest": MAX_DATASET_DIGEST_CHARS,
    "source_type": 36,
    "source": 65_535,
    "schema": 1_048_575,
    "profile": 16_777_215,
}
_MODEL_ID_CHARS = 34


class DatasetInput(NamedTuple):
    """One dataset with the tags of its use by the run. `source`, `schema` and `profile` are JSON texts."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    tags: Sequence[Entry] = ()


class DatasetRow(TypedDict):
    """A dataset, and a context in which runs of its experiment use it."""

    experiment_id: str
    name: str
    digest: str
    context: str | None


async def log_inputs(
    session: Session,
    who: Principal,
    run_id: str,
    *,
    dataset_inputs: Sequence[DatasetInput] = (),
    model_ids: Sequence[str] = (),
) -> None:
    """Links datasets and logged models to the run as inputs.

    Datasets are shown in the order in which they were logged. One is one per experiment, name and digest; one that
    the run has already stays as it is, its tags too.

    Raises:
        ResourceDoesNotExist: there is no such run.
        InvalidParameterValue: the run is deleted, or a value breaks a rule.
    """
    _check_count("datasets", dataset_inputs, MAX_DATASETS)
    _check_count("models", model_ids, MAX_MODELS)
    wanted: dict[tuple[str, str], DatasetInput] = {}
    for index, one in enumerate(dataset_inputs):
        wanted.setdefault((one.name, one.digest), _checked(one, index))
    model_ids = sorted({check_length(model_id, _MODEL_ID_CHARS, "model_id") for model_id in model_ids})
    run = await find_active_run(session, who, Privilege.EDIT, run_id)
    if wanted:
        await _add_datasets(session, run["id"], run["experiment_id"], wanted)
    await rowsets.insert_missing(session, model_inputs, {"run": run["id"], "model_id": model_ids})


async def log_outputs(session: Session, who: Principal, run_id: str, models: Sequence[tuple[str, int]]) -> None:
    """Links logged models, each `(model_id, step)`, to the run as outputs.

    Raises:
        ResourceDoesNotExist: there is no such run.
        InvalidParameterValue: the run is deleted, or a value breaks a rule.
    """
    _check_count("models", models, MAX_MODELS)
    steps = {
        check_length(model_id, _MODEL_ID_CHARS, "model_id"): check_int64(step, parameter="step")
        for model_id, step in models
    }
    run = await find_active_run(session, who, Privilege.EDIT, run_id)
    model_ids = sorted(steps)
    await rowsets.overwrite(
        session,
        model_outputs,
        {"run": run["id"], "model_id": model_ids, "step": [steps[model_id] for model_id in model_ids]},
    )


async def search_datasets(session: Session, who: Principal, experiment_ids: Sequence[str]) -> list[DatasetRow]:
    """Each dataset that a run of these experiments uses, once per context it is used in; at most 1,000.

    Raises:
        InvalidParameterValue: no experiment, or too many.
    """
    if not experiment_ids:
        raise InvalidParameterValue("SearchDatasets request must specify at least one experiment_id.")
    if len(experiment_ids) > MAX_SUMMARY_EXPERIMENTS:
        raise InvalidParameterValue(
            f"SearchDatasets request cannot specify more than {MAX_SUMMARY_EXPERIMENTS} experiment_ids. "
            f"Received {len(experiment_ids)} experiment_ids."
        )
    wanted = sorted({parse_experiment_id(experiment_id) for experiment_id in experiment_ids})
    used, tag = dataset_inputs.c, dataset_input_tags.c
    named = (datasets.c.experiment_id, datasets.c.name, datasets.c.digest, tag.value)
    statement = (
        select(*named)
        .distinct()
        .join_from(datasets, dataset_inputs, used.dataset_id == datasets.c.id)
        .outerjoin(
            dataset_input_tags,
            and_(tag.run == used.run, tag.dataset_id == used.dataset_id, tag.key == DATASET_CONTEXT_TAG),
        )
        .where(
            rowsets.among(session, datasets.c.experiment_id, wanted),
            *access.visible(who, access.DATASETS, Privilege.READ),
        )
        .order_by(*named)
        .limit(MAX_SUMMARIES)
    )
    return [
        {"experiment_id": str(experiment_id), "name": name, "digest": digest, "context": context}
        for experiment_id, name, digest, context in await session.execute(statement)
    ]


async def _add_datasets(
    session: Session, run: int, experiment_id: int, wanted: dict[tuple[str, str], DatasetInput]
) -> None:
    insert = sqlite_insert if session.is_sqlite else postgresql_insert
    ordered = [wanted[key] for key in sorted(wanted)]
    await session.execute(
        insert(datasets).on_conflict_do_nothing(),
        [{"experiment_id": experiment_id, **{name: getattr(one, name) for name in _LIMITS}} for one in ordered],
    )
    ids = await _dataset_ids(session, experiment_id, wanted)
    before = await session.scalar(select(func.max(dataset_inputs.c.position)).where(dataset_inputs.c.run == run))
    position = {key: number for number, key in enumerate(wanted, 0 if before is None else before + 1)}
    added = await session.execute(
        insert(dataset_inputs).on_conflict_do_nothing().returning(dataset_inputs.c.dataset_id),
        [{"run": run, "dataset_id": one, "position": position[ids[one]]} for one in sorted(ids)],
    )
    tags = [
        (dataset_id, tag.key, tag.value)
        for dataset_id in sorted(added.scalars())
        for tag in last_of_each(wanted[ids[dataset_id]].tags)
    ]
    if tags:
        dataset_ids, keys, values = map(list, zip(*tags, strict=True))
        await rowsets.insert_missing(
            session, dataset_input_tags, {"run": run, "dataset_id": dataset_ids, "key": keys, "value": values}
        )


async def _dataset_ids(
    session: Session, experiment_id: int, wanted: dict[tuple[str, str], DatasetInput]
) -> dict[int, tuple[str, str]]:
    table = datasets.c
    found = await session.execute(
        select(table.id, table.name, table.digest).where(
            table.experiment_id == experiment_id, tuple_(table.name, table.digest).in_(list(wanted))
        )
    )
    return {dataset_id: (name, digest) for dataset_id, name, digest in found}


def _checked(one: DatasetInput, index: int) -> DatasetInput:
    path = f"datasets[{index}]"
    for field, limit in _LIMITS.items():
        value = getattr(one, field)
        if value is not None:
            check_length(value, limit, field)
    for number, tag in enumerate(one.tags):
        check_input_tag(*tag, path=f"{path}.tags[{number}]")
    return one


def _check_count(noun: str, entries: Sequence[object], limit: int) -> None:
    if len(entries) > limit:
        raise InvalidParameterValue(
            f"Invalid value for parameter '{noun}': at most {limit} are allowed in one call, got {len(entries)}."
        )
