"""The first schema, and what exists from the start: the built-in schemas and the experiment `Default`."""

import time
import uuid

from alembic import op

from tiltyard.names import BUILT_IN_SCHEMAS
from tiltyard_registry import tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates every table and the rows that no client creates."""
    connection = op.get_bind()
    tables.metadata.create_all(connection)
    now = time.time_ns() // 1_000_000
    for catalog, schema in BUILT_IN_SCHEMAS:
        stamp = {"created_at": now, "updated_at": now}
        catalog_id = connection.execute(
            tables.catalogs.insert()
            .values(uuid=str(uuid.uuid4()), name=catalog, **stamp)
            .returning(tables.catalogs.c.id)
        ).scalar_one()
        connection.execute(
            tables.schemas.insert().values(uuid=str(uuid.uuid4()), catalog_id=catalog_id, name=schema, **stamp)
        )
    connection.execute(
        tables.experiments.insert().values(
            experiment_id=0,
            name="Default",
            artifact_location="mlflow-artifacts:/0",
            creation_time=now,
            last_update_time=now,
        )
    )
