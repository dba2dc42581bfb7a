"""Which of the imported rows lead to files that our artifact root does not hold."""

from collections.abc import Sequence

from sqlalchemy import func, select

from tiltyard.errors import ResourceDoesNotExist
from tiltyard_registry.importing.copies.entities import LOGGED_MODEL_READY
from tiltyard_registry.importing.copies.owners import Owner
from tiltyard_registry.importing.locations import Locations
from tiltyard_registry.importing.report import Elsewhere
from tiltyard_registry.importing.source import MLflowDatabase
from tiltyard_registry.rules.lifecycle import ACTIVE

_EXAMPLES = 3
_TAGS_OF_FILES = ("mlflow.loggedArtifacts", "mlflow.log-model.history")


async def elsewhere(source: MLflowDatabase, owner: Owner, where: Locations) -> Elsewhere:
    """How many rows name a place that is not below our root, and some of these places."""
    found, column = Elsewhere(owner.noun), list(owner.columns).index(owner.place)
    async for rows in owner.pages(source):
        for row in rows:
            if where.is_elsewhere(row[column]):
                found.count += 1
                if len(found.examples) < _EXAMPLES:
                    found.examples.append(row[column])
    return found


async def old_roots(found: Sequence[Elsewhere], where: Locations) -> list[str]:
    """What the server's root seems to have been called, by what lies below it now."""
    examples = [example for noun in found for example in noun.examples]
    return sorted({root for example in examples if (root := await where.moved_from(example))})


async def runs_say_of_files(source: MLflowDatabase) -> bool:
    """Whether the tags of a run say that a table or a model was logged to it."""
    if not source.has("tags"):
        return False
    tags = source.table("tags")
    return bool(await source.scalar(select(func.count()).select_from(tags).where(tags.c.key.in_(_TAGS_OF_FILES))))


async def missing_logged_models(source: MLflowDatabase, models: Owner, where: Locations) -> list[str]:
    """Logged models that are ready, and of which there is no file below our root."""
    columns = list(models.columns)
    place, status, stage = (columns.index(name) for name in (models.place, "status", "lifecycle_stage"))
    missing = []
    async for rows in models.pages(source):
        for row in rows:
            prefix = where.ours.prefix_of(row[place])
            if prefix and row[status] == LOGGED_MODEL_READY and row[stage] == ACTIVE:
                try:
                    await where.ours.store.head(prefix)
                except ResourceDoesNotExist:
                    missing.append(f"logged model {row[0]}")
    return missing
