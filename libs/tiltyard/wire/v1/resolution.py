"""What model URIs name now. Path: /api/tiltyard/v1/resolve"""

from msgspec import Struct


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
