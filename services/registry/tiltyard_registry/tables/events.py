"""What changed."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from tiltyard_registry.tables.columns import Id, Millis, metadata

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
    Column("request_id", String(64)),
    Index("ix_events_time", "time", "id"),
    Index("ix_events_principal", "principal", "time", "id"),
    Index("ix_events_name", "name", "time", "id"),
    Index("ix_events_model", "registered_model_id", "time", "id"),
    Index("ix_events_alias", "registered_model_id", "alias", "time", "id"),
    sqlite_autoincrement=True,
)
