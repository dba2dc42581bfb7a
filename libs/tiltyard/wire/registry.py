"""Our own additions. Paths: /api/tiltyard/v1/…; names are shown as the MLflow API shows them."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from tiltyard.wire.tags import Text


class ManifestFile(Struct):
    """One file of a version; `path` is relative to the model directory, with '/' between its parts."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(Struct):
    """What a version is, byte for byte. An external version has no digest and no files."""

    name: str
    version: str
    digest: str | None
    size_bytes: int | None
    external: bool
    location: str
    files: list[ManifestFile]


class Resolved(Struct, tag_field="outcome", tag="resolved"):
    """The exact version that a model URI names now."""

    uri: str
    name: str
    version: str
    digest: str | None
    source: str
    run_id: str | None
    model_id: str | None
    status: str
    external: bool
    location: str


class Unresolved(Struct, tag_field="outcome", tag="unresolved"):
    """A model URI that names nothing now."""

    uri: str
    error_code: str
    message: str


class ResolveReply(Struct):
    """One entry per URI asked, in the order asked."""

    models: list[Resolved | Unresolved]


class AliasState(Struct):
    alias: str
    version: str


class AliasesReply(Struct):
    name: str
    aliases: list[AliasState]


class SetAlias(Struct):
    version: Text | int


class AliasMove(Struct):
    """One move of an alias: when, by whom, from where, to where. Null: the alias was absent."""

    event_id: int
    time: int
    principal: str
    alias: str
    from_version: str | None
    to_version: str | None


class AliasHistoryPage(Struct, omit_defaults=True):
    moves: list[AliasMove]
    next_page_token: str | None = None


class Change(Struct, omit_defaults=True):
    """One alias or tag change.

    `set_alias` wants `alias` and `version`; `delete_alias` wants `alias`; `set_tag` wants `key` and takes
    `value`; `delete_tag` wants `key`; tags with a `version` are the version's, without one the model's.
    `expected_version` makes an alias change a compare-and-set; "" means 'the alias must be absent'.
    """

    action: Literal["set_alias", "delete_alias", "set_tag", "delete_tag"]
    name: Text
    alias: str | None = None
    version: str | int | None = None
    expected_version: str | int | None = None
    key: str | None = None
    value: str = ""


class Changes(Struct):
    """Changes that are all applied, in order and in one transaction, or none of them is."""

    changes: Annotated[list[Change], Meta(min_length=1, max_length=1000)]


class Event(Struct):
    """One change of registry state. `before` and `after` hold the fields that changed."""

    id: int
    time: int
    principal: str
    action: str
    name: str | None
    version: str | None
    alias: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None


class EventsPage(Struct, omit_defaults=True):
    events: list[Event]
    next_page_token: str | None = None
