"""What was granted to whom: an empty table, for nobody but `anonymous` is known yet."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the table of grants."""
    op.create_table(
        "grants",
        sa.Column("principal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("securable_type", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("securable_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("privilege", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("granted_by", sa.String(255), nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("principal_id", "securable_type", "securable_id", "privilege", name="pk_grants"),
    )
    op.create_index("ix_grants_securable", "grants", ["securable_type", "securable_id", "principal_id"])
