"""Datasets, and the runs that they went into. A dataset has an id of its own on either side.

Source: mlflow/store/tracking/sqlalchemy_store.py, `log_inputs`, tag v3.17.2.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from tiltyard_registry.importing.copies.rows import Copied, Keys, Sides
from tiltyard_registry.importing.source import MLflowDatabase, Values
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.runs import dataset_input_tags, dataset_inputs, datasets

_IDENTITY = ("experiment_id", "name", "digest")


def _same(number: Any) -> Any:
    return number


class Datasets(Copied):
    """The datasets of experiments; one that is here already stays as it is."""

    async def write(self, session: Session, rows: Sequence[Values]) -> None:
        """Inserts those that the experiment lacks."""
        insert = sqlite_insert if session.is_sqlite else postgresql_insert
        parameters = [dict(zip(self.names, row, strict=True)) for row in rows]
        await session.execute(insert(self.ours).on_conflict_do_nothing(), parameters)


@dataclass(frozen=True)
class DatasetInputs(Copied):
    """What says of a run which datasets went into it, and as what. `number` says what an experiment's id is here."""

    number: Callable[[Any], Any] = _same

    def statement(self, source: MLflowDatabase, owners: Keys) -> Select[Any]:
        """The run, the dataset's id there, and what is said of its use."""
        inputs = source.table("inputs")
        shown = [inputs.c.destination_id, inputs.c.source_id]
        statement = select(*shown)
        if len(self.columns) > 1:
            tags = source.table("input_tags")
            statement = select(*shown, tags.c.name, tags.c.value).join(tags, tags.c.input_uuid == inputs.c.input_uuid)
        return statement.where(
            inputs.c.source_type == "DATASET",
            inputs.c.destination_type == "RUN",
            inputs.c.destination_id.in_(list(owners)),
        )

    async def read(self, sides: Sides, owners: Keys) -> AsyncIterator[list[Values]]:
        """The rows below these runs, with the datasets' ids here."""
        async for rows in super().read(sides, owners):
            ids = await self._ids(sides, {row[1] for row in rows})
            # A link to a dataset that is gone leads nowhere there either.
            yield [(run, ids[uuid], *rest) for run, uuid, *rest in rows if uuid in ids]

    async def _ids(self, sides: Sides, uuids: set[str]) -> dict[str, int]:
        """The ids here of datasets that have these ids there."""
        theirs, ours = sides.there.table("datasets"), datasets
        asked = select(*(theirs.c[name] for name in ("dataset_uuid", *_IDENTITY)))
        found = await sides.there.all(asked.where(theirs.c.dataset_uuid.in_(uuids)))
        named = [(uuid, self.number(experiment_id), *rest) for uuid, experiment_id, *rest in found]
        here = select(ours.c.id, *(ours.c[name] for name in _IDENTITY)).where(
            rowsets.among(sides.here, ours.c.experiment_id, sorted({row[1] for row in named})),
            rowsets.among(sides.here, ours.c.digest, sorted({row[3] for row in named})),
        )
        ids = {tuple(row[name] for name in _IDENTITY): row["id"] for row in await sides.here.all(here)}
        return {uuid: ids[tuple(identity)] for uuid, *identity in named if tuple(identity) in ids}


DATASETS = Datasets(
    "datasets",
    "datasets",
    "experiment_id",
    datasets,
    "experiment_id",
    {
        "name": "name",
        "digest": "digest",
        "source_type": "dataset_source_type",
        "source": "dataset_source",
        "schema": "dataset_schema",
        "profile": "dataset_profile",
    },
)
DATASET_INPUTS = DatasetInputs(
    "dataset inputs", "inputs", "destination_id", dataset_inputs, "run", {"dataset_id": "source_id"}
)
DATASET_INPUT_TAGS = DatasetInputs(
    "dataset input tags", "inputs", "destination_id", dataset_input_tags, "run",
    {"dataset_id": "source_id", "key": "name", "value": "value"},
)  # fmt: skip
