"""What was granted to whom."""

from sqlalchemy import BigInteger, Column, Index, SmallInteger, String, Table

from tiltyard_registry.tables.columns import Millis, metadata

grants = Table(
    "grants",
    metadata,
    # One row for each privilege of each principal; the numbers are those of `rules.access`. They name no row by a
    # foreign key, for securables lie in four tables: who deletes a securable deletes what was granted on it.
    # Experiments that are purged leave theirs behind yet.
    Column("principal_id", BigInteger, primary_key=True, autoincrement=False),
    Column("securable_type", SmallInteger, primary_key=True, autoincrement=False),
    Column("securable_id", BigInteger, primary_key=True, autoincrement=False),
    Column("privilege", BigInteger, primary_key=True, autoincrement=False),
    Column("granted_by", String(255), nullable=False),
    Column("granted_at", Millis, nullable=False),
    Index("ix_grants_securable", "securable_type", "securable_id", "principal_id"),
)
