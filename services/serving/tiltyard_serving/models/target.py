"""One exact version, or one directory of files, that a model is loaded from."""

from typing import NamedTuple

from tiltyard.models import ModelReference
from tiltyard.uri import format_model_uri

_DIGEST_CHARS = 12


class ModelTarget(NamedTuple):
    """An exact version to serve: a URI that always names the same bytes, and what tells them apart.

    `name` and `version` are None for what was never registered. The digest is part of the identity, because
    a model that was deleted and made again has the same numbers for other bytes.
    """

    uri: str
    name: str | None = None
    version: str | None = None
    digest: str | None = None


def target_of(found: ModelReference) -> ModelTarget:
    if found.name is None or found.version is None:
        return ModelTarget(found.uri, digest=found.digest)
    return ModelTarget(format_model_uri(found.name, found.version), found.name, str(found.version), found.digest)


def short(digest: str | None) -> str | None:
    return digest.removeprefix("sha256:")[:_DIGEST_CHARS] if digest else None
