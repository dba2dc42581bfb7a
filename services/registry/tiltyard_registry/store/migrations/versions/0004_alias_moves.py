"""What each alias named before and after an event, in columns of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_VERSION = """CASE WHEN alias IS NOT NULL THEN CAST(trim("{}", '{{"version": }}') AS INTEGER) END"""


def upgrade() -> None:
    """Adds columns that the database fills: for the events that are there, and for those of an older release."""
    # SQLite adds no column but one that it computes when it is read; PostgreSQL has such since 18 only.
    stored = op.get_bind().dialect.name == "postgresql"
    for name, side in (("from_version", "before"), ("to_version", "after")):
        op.add_column("events", sa.Column(name, sa.Integer(), sa.Computed(_VERSION.format(side), persisted=stored)))
