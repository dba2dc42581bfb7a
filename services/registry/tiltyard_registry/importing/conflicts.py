"""What is in the way of an import: rows here that are not those of the server that is to move in."""

from collections.abc import Mapping, Sequence

from sqlalchemy import func, or_, select

from tiltyard.errors import ResourceConflict
from tiltyard_registry.importing.copies.owners import Owner
from tiltyard_registry.importing.copies.registered_models import IMPORTER, RegisteredModels
from tiltyard_registry.importing.listed import listed
from tiltyard_registry.importing.source import MLflowDatabase, Values
from tiltyard_registry.rules.experiments import DEFAULT_EXPERIMENT_ID
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.events import events
from tiltyard_registry.tables.experiments import experiment_tags, experiments, logged_models
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.runs import runs


async def check(
    source: MLflowDatabase, database: Database, experiments_there: Owner, models_there: RegisteredModels
) -> None:
    """Passes if everything to be written is absent here, or came from this server.

    An experiment or a model with the same name and time of creation came from there. One that was changed here
    since is not written over.

    Raises:
        ResourceConflict: something is in the way; the message lists what.
    """
    found: list[str] = []
    async with database.read() as session:
        async for page in experiments_there.pages(source):
            found += await _experiments(session, page)
        async for models in models_there.pages(source):
            found += await _models(session, {model.values[0]: model.values[1] for model in models})
    if found:
        raise ResourceConflict(
            "The database holds what would be written over. Import into an empty one, or rename or delete:\n  "
            + listed(found)
        )


async def _experiments(session: Session, page: Sequence[Values]) -> list[str]:
    named = {row[1]: row for row in page}
    by_id = {row[0]: row for row in page}
    here = experiments.c
    rows = await session.all(
        select(experiments).where(
            or_(rowsets.among(session, here.name, list(named)), rowsets.among(session, here.experiment_id, list(by_id)))
        )
    )
    found = []
    for row in rows:
        theirs = by_id.get(row["experiment_id"])
        if theirs is None:
            found.append(
                f"experiment {row['experiment_id']} is named '{row['name']}' here; there it is experiment "
                f"{named[row['name']][0]}"
            )
        elif theirs[4] != row["creation_time"] and not await _is_untouched(session, row["experiment_id"]):
            way_on = (
                " (--default-as NAME imports that as another one)"
                if row["experiment_id"] == DEFAULT_EXPERIMENT_ID
                else ""
            )
            found.append(f"experiment {row['experiment_id']} is '{row['name']}' here and '{theirs[1]}' there{way_on}")
    return found


async def _is_untouched(session: Session, experiment_id: int) -> bool:
    """Whether it is the experiment that every registry begins with, and nobody used it."""
    if experiment_id != DEFAULT_EXPERIMENT_ID:
        return False
    used = [
        await session.scalar(select(func.count()).select_from(table).where(table.c.experiment_id == experiment_id))
        for table in (runs, logged_models, experiment_tags)
    ]
    return not any(used)


async def _models(session: Session, created: Mapping[str, int]) -> list[str]:
    models = registered_models.c
    rows = await session.all(
        select(models.id, models.name, models.creation_timestamp).where(
            rowsets.among(session, models.name, list(created))
        )
    )
    found = []
    for row in rows:
        if row["creation_timestamp"] != created[row["name"]]:
            found.append(f"registered model '{row['name']}' is another one here")
            continue
        last = await session.one(
            select(events.c.action, events.c.principal)
            .where(events.c.registered_model_id == row["id"], events.c.principal != IMPORTER.name)
            .order_by(events.c.id.desc())
            .limit(1)
        )
        if last is not None:
            found.append(
                f"registered model '{row['name']}' was changed here since it was imported "
                f"({last['action']} by {last['principal']})"
            )
    return found
