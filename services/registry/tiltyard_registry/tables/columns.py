"""What the columns of our tables are made of, and the one `metadata` that holds the tables."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    literal_column,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite auto-increments only a column declared exactly INTEGER PRIMARY KEY.
Id = BigInteger().with_variant(Integer, "sqlite")
Millis = BigInteger


def child_of(parent: str) -> ForeignKey:
    """What a row names its parent by, with which it goes."""
    return ForeignKey(parent, ondelete="CASCADE")


def pairs(name: str, owner: Column[Any], *rest: Index, key_chars: int = 250) -> Table:
    """A table of keys with a value each, which go with their owner."""
    key = Column("key", String(key_chars), primary_key=True)
    return Table(name, metadata, owner, key, Column("value", Text, nullable=False), *rest)


VALUE_HEAD_CHARS = 200


def value_head(table: Table) -> ColumnElement[str]:
    """The start of a value, which is what an index of long texts can hold; equal texts start alike."""
    return func.substr(table.c.value, literal_column("1"), literal_column(f"{VALUE_HEAD_CHARS}"))
