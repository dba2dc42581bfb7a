"""Their experiment 0 as one of ours, for a registry whose own was used already."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from tiltyard.errors import ResourceConflict
from tiltyard_registry.importing.source import MLflowDatabase
from tiltyard_registry.rules.experiments import DEFAULT_EXPERIMENT_ID, MAX_COUNTED_ID, check_experiment_name
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.experiments import experiments


@dataclass(frozen=True, slots=True)
class NewDefault:
    """The number and the name that their experiment 0 has here."""

    number: int
    name: str

    def number_of(self, theirs: Any) -> Any:
        """What an experiment's number there is here."""
        return self.number if theirs == DEFAULT_EXPERIMENT_ID else theirs


async def new_default(source: MLflowDatabase, database: Database | None, name: str) -> NewDefault:
    """The number that an earlier import gave it, else one that no experiment has, here or there.

    `database` is ours, None while it is not there.

    Raises:
        InvalidParameterValue: no experiment may have this name.
        ResourceConflict: another experiment has it.
    """
    check_experiment_name(name, parameter="default_as")
    table = source.table("experiments")
    counted = table.c.experiment_id <= MAX_COUNTED_ID
    numbers = [await source.scalar(select(func.max(table.c.experiment_id)).where(counted))]
    if await source.scalar(select(func.count()).select_from(table).where(table.c.name == name)):
        raise ResourceConflict(f"An experiment there is called '{name}' already (--default-as).")
    created = 0
    if source.has("experiments", "creation_time"):
        created = await source.scalar(select(table.c.creation_time).where(table.c.experiment_id == 0)) or 0
    if database is not None:
        async with database.read() as session:
            here = await session.one(select(experiments).where(experiments.c.name == name))
            ours = experiments.c.experiment_id
            numbers.append(await session.scalar(select(func.max(ours)).where(ours <= MAX_COUNTED_ID)))
        if here is not None and here["creation_time"] == created:
            return NewDefault(here["experiment_id"], name)
        if here is not None:
            raise ResourceConflict(f"Another experiment here is called '{name}' already (--default-as).")
    return NewDefault(max(number or 0 for number in numbers) + 1, name)
