"""What changed."""

from sqlalchemy import BigInteger, Column, Computed, Index, Integer, String, Table, Text

from tiltyard_registry.tables.columns import Id, Millis, metadata

# What `{"version": 3}` says, in the words of both databases. They fill it in, whichever release writes an event.
_VERSION = """CASE WHEN alias IS NOT NULL THEN CAST(trim("{}", '{{"version": }}') AS INTEGER) END"""

events = Table(
    "events",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("time", Millis, nullable=False),
    Column("principal", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    # What it happened to; no foreign key, for an event outlives its object.
    Column("registered_model_id", BigInteger),
    Column("name", String(800)),
    Column("version", Integer),
    Column("alias", String(255)),
    # JSON of the changed fields, before and after; null where there was nothing.
    Column("before", Text),
    Column("after", Text),
    # What an alias named, and names since.
    Column("from_version", Integer, Computed(_VERSION.format("before"))),
    Column("to_version", Integer, Computed(_VERSION.format("after"))),
    Column("request_id", String(64)),
    Index("ix_events_time", "time", "id"),
    Index("ix_events_principal", "principal", "time", "id"),
    Index("ix_events_name", "name", "time", "id"),
    Index("ix_events_model", "registered_model_id", "time", "id"),
    Index("ix_events_alias", "registered_model_id", "alias", "time", "id"),
    sqlite_autoincrement=True,
)
