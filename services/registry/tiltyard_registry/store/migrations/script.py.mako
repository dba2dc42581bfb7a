"""${message}."""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Only ever adds: the previous release keeps serving while this runs and after it."""
    ${upgrades if upgrades else "pass"}
