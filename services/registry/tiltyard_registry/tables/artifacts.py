"""What is known of files, and what versions are made of."""

from sqlalchemy import BigInteger, Column, String, Table, Text

from tiltyard_registry.tables.columns import Millis, metadata

manifests = Table(
    "manifests",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    # JSON list of {path, size_bytes, sha256}, in the order that the digest is taken over.
    Column("files", Text, nullable=False),
)

files = Table(
    "files",
    metadata,
    # Path below the artifact root. The hash counts only while the store still shows this etag.
    Column("path", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("etag", String(255), nullable=False),
    Column("last_modified", Millis, nullable=False),
)
