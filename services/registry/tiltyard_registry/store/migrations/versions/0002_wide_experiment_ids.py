"""Experiment ids of 64 bits, the properties of catalogs and schemas, and the order of a run's datasets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# As `rules.experiments.MAX_COUNTED_ID` was when this was written.
_MAX_COUNTED_ID = 10**9
_NAMED_BY_EXPERIMENT = ("experiments", "experiment_tags", "datasets", "runs", "logged_models")


def upgrade() -> None:
    """Widens the ids where the database has a narrow type, and adds the new columns."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _NAMED_BY_EXPERIMENT:
            op.alter_column(table, "experiment_id", type_=sa.BigInteger(), existing_type=sa.Integer())
        op.execute("ALTER SEQUENCE experiments_experiment_id_seq AS bigint")
    else:
        # SQLite's integers have 64 bits already. Ids that came with an import are none to count on from.
        count_on = sa.text(
            "UPDATE sqlite_sequence SET seq = "
            "(SELECT coalesce(max(experiment_id), 0) FROM experiments WHERE experiment_id <= :counted) "
            "WHERE name = 'experiments' AND seq > :counted"
        )
        op.execute(count_on.bindparams(counted=_MAX_COUNTED_ID))
    for table in ("catalogs", "schemas"):
        op.add_column(table, sa.Column("properties", sa.Text(), nullable=True))
    op.add_column("dataset_inputs", sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False))
