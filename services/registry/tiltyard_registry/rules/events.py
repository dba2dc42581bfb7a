"""What can happen to the state of the registry: one class an event, as the log tells it.

Added to, never renamed: stored events, and whoever follows them, know the actions and the fields by these names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

Fields = Mapping[str, Any]

EVENTS: dict[str, "type[Event]"] = {}
"""Every event there is, by its action."""

# What has a column of its own, and is not told among the fields once more.
_COLUMNS = frozenset({"full_name", "version", "alias"})


@dataclass(frozen=True)
class Event:
    """One change. `before` and `after` hold the fields that changed, None where there was nothing."""

    action: ClassVar[str]

    def __init_subclass__(cls, *, action: str = "") -> None:
        if action:
            cls.action = action
            EVENTS[action] = cls

    @classmethod
    def of(cls, row: Mapping[Any, Any], **more: Any) -> Self:
        """The event with what it tells of a row."""
        return cls(**{field.name: row[field.name] for field in fields(cls) if field.name in row} | more)

    def told(self) -> dict[str, Any]:
        """The fields without a column of their own; those with a default only where there is more to tell."""
        said = {field: getattr(self, field.name) for field in fields(self) if field.name not in _COLUMNS}
        return {field.name: value for field, value in said.items() if value != field.default}


class Created(Event):
    """Something came to be: the fields are what it is."""

    @property
    def after(self) -> Fields:
        """All of it."""
        return self.told()


class Deleted(Event):
    """Something is gone: the fields are what it was."""

    @property
    def before(self) -> Fields:
        """All of it."""
        return self.told()


@dataclass(frozen=True)
class Changed(Event):
    """Some of the fields of something are others now."""

    before: Fields | None
    after: Fields | None


@dataclass(frozen=True)
class VersionChanged(Changed):
    """Some of the fields of a version are others now."""

    version: int


@dataclass(frozen=True)
class NamespaceChanged(Changed):
    """A catalog, or a schema, was described or named otherwise. `full_name` is what it was called before."""

    full_name: str


@dataclass(frozen=True)
class NamespaceCreated(Created):
    """A catalog, or a schema, which is `full_name` with its catalog."""

    full_name: str
    name: str
    comment: str | None
    properties: Fields | None = None


@dataclass(frozen=True)
class NamespaceDeleted(Deleted):
    """An empty catalog or schema."""

    full_name: str
    name: str
    comment: str | None


class CatalogCreated(NamespaceCreated, action="create_catalog"):
    """Also by the creation of a model in one that was missing."""


class CatalogUpdated(NamespaceChanged, action="update_catalog"):
    """A new name moves its models along: each tells so itself."""


class CatalogDeleted(NamespaceDeleted, action="delete_catalog"):
    """Its schemas went before it."""


class SchemaCreated(NamespaceCreated, action="create_schema"):
    """Also by the creation of a model in one that was missing."""


class SchemaUpdated(NamespaceChanged, action="update_schema"):
    """A new name moves its models along: each tells so itself."""


class SchemaDeleted(NamespaceDeleted, action="delete_schema"):
    """By itself, or with its catalog."""


@dataclass(frozen=True)
class ModelCreated(Created, action="create_registered_model"):
    """A registered model, without versions."""

    name: str
    description: str | None
    tags: Fields


class ModelUpdated(Changed, action="update_registered_model"):
    """Another description."""


@dataclass(frozen=True)
class ModelRenamed(Event, action="rename_registered_model"):
    """Another full name: its own, or that of its schema or catalog, was changed."""

    old: str
    new: str

    @property
    def before(self) -> Fields:
        """The name that it had."""
        return {"name": self.old}

    @property
    def after(self) -> Fields:
        """The name that it has."""
        return {"name": self.new}


@dataclass(frozen=True)
class ModelDeleted(Deleted, action="delete_registered_model"):
    """Its aliases and versions went before it."""

    name: str
    description: str | None
    tags: Fields


class ModelTagSet(Changed, action="set_registered_model_tag"):
    """One tag, by its key."""


class ModelTagDeleted(Changed, action="delete_registered_model_tag"):
    """One tag, by its key."""


@dataclass(frozen=True)
class VersionCreated(Created, action="create_model_version"):
    """A version; what it was not given is not told."""

    version: int
    source: str
    run_id: str | None = None
    model_id: str | None = None
    status: str | None = None
    description: str | None = None
    storage_location: str | None = None
    manifest_digest: str | None = None
    tags: Fields | None = None


class VersionFinalized(VersionChanged, action="finalize_model_version"):
    """Its files were pinned or read, or cannot be."""


class VersionUpdated(VersionChanged, action="update_model_version"):
    """Another description."""


class StageChanged(VersionChanged, action="transition_model_version_stage"):
    """Another stage; `after` has the comment that was given, too."""


@dataclass(frozen=True)
class VersionDeleted(Deleted, action="delete_model_version"):
    """A version, and the aliases that named it: they went before it."""

    version: int
    source: str
    run_id: str | None
    model_id: str | None
    current_stage: str
    description: str | None
    status: str
    storage_location: str
    manifest_digest: str | None
    tags: Fields
    aliases: list[str] | None = None


class VersionTagSet(VersionChanged, action="set_model_version_tag"):
    """One tag, by its key."""


class VersionTagDeleted(VersionChanged, action="delete_model_version_tag"):
    """One tag, by its key."""


@dataclass(frozen=True)
class AliasMoved(Event, action="set_registered_model_alias"):
    """An alias names another version, or its first."""

    alias: str
    from_version: int | None
    version: int

    @property
    def before(self) -> Fields | None:
        """The version that it named."""
        return None if self.from_version is None else {"version": self.from_version}

    @property
    def after(self) -> Fields:
        """The version that it names."""
        return {"version": self.version}


@dataclass(frozen=True)
class AliasDeleted(Event, action="delete_registered_model_alias"):
    """An alias names nothing any more."""

    alias: str
    version: int

    @property
    def before(self) -> Fields:
        """The version that it named."""
        return {"version": self.version}


class ModelImported(Changed, action="import_registered_model"):
    """A model as another server had it."""


class VersionImported(VersionChanged, action="import_model_version"):
    """A version as another server had it."""


class GarbageCollected(Event, action="collect_garbage"):
    """What was deleted long ago may be gone for good."""


def changed(before: Mapping[Any, Any], after: Fields) -> tuple[Fields, Fields] | None:
    """The fields of `after` that differ from `before`, as they were and as they are; None if none does."""
    names = [name for name, value in after.items() if before.get(name) != value]
    return ({name: before.get(name) for name in names}, {name: after[name] for name in names}) if names else None
