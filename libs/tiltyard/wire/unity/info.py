"""What is told of catalogs, schemas, models and versions alike."""

from msgspec import Struct


class Info(Struct):
    comment: str | None
    created_at: int
    created_by: str | None
    updated_at: int
    updated_by: str | None


class OwnedInfo(Info):
    owner: str | None
