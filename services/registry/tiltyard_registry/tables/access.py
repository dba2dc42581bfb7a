"""What was granted to whom."""

from sqlalchemy import BigInteger, Column, Index, SmallInteger, String, Table, Text

from tiltyard_registry.tables.columns import Millis, metadata

grants = Table(
    "grants",
    metadata,
    # One row for each privilege of each principal; the numbers are those of `rules.access`. They name no row by a
    # foreign key, for securables lie in four tables: who deletes a securable deletes what was granted on it.
    Column("principal_id", BigInteger, primary_key=True, autoincrement=False),
    Column("securable_type", SmallInteger, primary_key=True, autoincrement=False),
    Column("securable_id", BigInteger, primary_key=True, autoincrement=False),
    Column("privilege", BigInteger, primary_key=True, autoincrement=False),
    # JSON: the aliases or stages that it is limited to; null where it is not.
    Column("names", Text),
    Column("granted_by", String(255), nullable=False),
    Column("granted_at", Millis, nullable=False),
    Index("ix_grants_securable", "securable_type", "securable_id", "principal_id"),
)
