"""How files become the next version of a registered model."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tiltyard.client import Client
from tiltyard.errors import ResourceAlreadyExists, ResourceConflict, TemporarilyUnavailable
from tiltyard.models.reference import ModelReference, connected, resolve
from tiltyard.models.upload import upload_model
from tiltyard.uri import DirectoryUri, parse_model_uri
from tiltyard.version_status import PENDING, READY
from tiltyard.wire.mlflow.model_versions import ModelVersion

REGISTRATION_TIMEOUT_S = 300.0
_FIRST_POLL_S = 0.05
_MAX_POLL_S = 2.0


def register_model(
    uri: str,
    name: str,
    *,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
    registry_url: str | None = None,
    client: Client | None = None,
) -> ModelVersion:
    """The new version of `name`, made of what `uri` names; the registered model is created if it is missing.

    `uri` is a logged model, a directory of a run, a version or alias of another model, an object-store URI, which
    is recorded as external, or a local model directory, which is uploaded.

    Raises:
        InvalidParameterValue: `uri` or `name` breaks a rule.
        ResourceDoesNotExist: `uri` names nothing.
    """
    parsed = parse_model_uri(uri)
    with connected(client, registry_url) as known:
        if isinstance(parsed, DirectoryUri) and parsed.local_path is not None:
            directory: Path = parsed.local_path.resolve()
            model_id = upload_model(known, directory, directory.name)
            source, run_id = f"models:/{model_id}", None
        elif isinstance(parsed, DirectoryUri):
            source, run_id, model_id = uri, None, None
        else:
            found = resolve(uri, client=known)
            source, run_id, model_id = _source_of(found)
        return create_version(known, name, source, run_id=run_id, model_id=model_id, tags=tags, description=description)


def create_version(
    client: Client,
    name: str,
    source: str,
    *,
    run_id: str | None = None,
    model_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
) -> ModelVersion:
    """The next version of `name`, once the registry has frozen it."""
    with suppress(ResourceAlreadyExists):
        client.create_registered_model(name)
    version = client.create_model_version(
        name, source, run_id=run_id, model_id=model_id, tags=tags, description=description
    )
    deadline = time.monotonic() + REGISTRATION_TIMEOUT_S
    poll_s = _FIRST_POLL_S
    while version.status == PENDING:
        if time.monotonic() > deadline:
            raise TemporarilyUnavailable(f"Version {version.version} of '{name}' is still being registered.")
        time.sleep(poll_s)
        poll_s = min(2 * poll_s, _MAX_POLL_S)
        version = client.get_model_version(version.name, version.version)
    if version.status != READY:
        raise ResourceConflict(
            f"Version {version.version} of '{name}' could not be registered: {version.status_message or version.status}"
        )
    return version


def _source_of(found: ModelReference) -> tuple[str, str | None, str | None]:
    """The source of a new version, and the run and the logged model that the registry checks it against."""
    if found.name is not None and not found.uri.startswith(("runs:", "models:/m-")):
        # The registry gives the copy the run and the logged model of the version it is made of.
        return found.exact_uri, None, None
    if found.model_id is not None:
        return f"models:/{found.model_id}", found.run_id, found.model_id
    return found.location, found.run_id, None
