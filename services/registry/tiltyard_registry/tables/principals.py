"""Who there is: users, services and groups in one namespace, who is in which group, and their tokens."""

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text

from tiltyard_registry.tables.columns import Id, Millis, child_of, metadata

principals = Table(
    "principals",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("uuid", String(36), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("name", String(255), nullable=False, unique=True),
    Column("display_name", String(255)),
    # Who an issuer of tokens says it is.
    Column("issuer", String(500)),
    Column("subject", String(255)),
    Column("is_active", Boolean, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("password_hash", Text),
    # Grows with each password, so that what was known of the last one is known no more.
    Column("password_epoch", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Millis, nullable=False),
    Column("created_by", String(255)),
    Column("updated_at", Millis, nullable=False),
    Index("uq_principals_issuer_subject", "issuer", "subject", unique=True),
    # The id of one that is gone is never another's: grants and events may name it yet.
    sqlite_autoincrement=True,
)

memberships = Table(
    "memberships",
    metadata,
    Column("member_id", child_of("principals.id"), primary_key=True),
    Column("group_id", child_of("principals.id"), primary_key=True),
    Index("ix_memberships_group_id", "group_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("principal_id", child_of("principals.id"), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    # The first characters, for its owner to know it by.
    Column("prefix", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    # Names with blanks between them.
    Column("scopes", String(100), nullable=False),
    Column("created_at", Millis, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("expires_at", Millis, nullable=False),
    Column("revoked_at", Millis),
    Column("last_used_at", Millis),
    Index("ix_tokens_principal_id", "principal_id", "id"),
    sqlite_autoincrement=True,
)
