"""What follows for the models when a schema or a catalog gets another name."""

from sqlalchemy import select, update

from tiltyard.names import parse_model_name
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.events import ModelRenamed
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import registered_models


async def move_models(session: Session, who: Principal, schema_id: int, catalog_name: str, schema_name: str) -> None:
    """Gives every model of a schema the name that follows from the schema's new one."""
    models = registered_models.c
    rows = await session.all(select(models.id, models.name).where(models.schema_id == schema_id).with_for_update())
    for row in rows:
        name = parse_model_name(row["name"])._replace(catalog=catalog_name, schema=schema_name).shown
        await session.execute(update(registered_models).where(models.id == row["id"]).values(name=name))
        outbox.record(session, who, ModelRenamed(row["name"], name), model=row)
