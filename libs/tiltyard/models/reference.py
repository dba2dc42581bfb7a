"""What a model URI names now: one exact version, or one directory of files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tiltyard.client import Client
from tiltyard.errors import (
    EndpointNotFound,
    InvalidParameterValue,
    ModelIntegrityError,
    ResourceConflict,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
    from_answer,
)
from tiltyard.storage.manifest import Manifest, ManifestFile
from tiltyard.storage.sources import DirectorySource
from tiltyard.uri import (
    AliasUri,
    DirectoryUri,
    LatestUri,
    LoggedModelUri,
    RegisteredUri,
    RunUri,
    StageUri,
    VersionUri,
    format_model_uri,
    parse_model_uri,
)
from tiltyard.version_status import PENDING, READY
from tiltyard.wire.mlflow.model_versions import ModelVersion
from tiltyard.wire.v1.resolution import Resolved, Unresolved


@dataclass(frozen=True)
class ModelReference:
    """One exact model: it never changes what it means, whatever happens to the alias it came from.

    `manifest` is what the files are checked against; it is None for files that nobody vouches for. `named` says
    that the caller named the directory himself. `external` says that the registry only recorded where it lies,
    or is a server without manifests. `location` is where the files are read, at `registry_url` when it begins
    with `mlflow-artifacts:`.
    """

    uri: str
    location: str
    name: str | None = None
    version: int | None = None
    digest: str | None = None
    run_id: str | None = None
    model_id: str | None = None
    source: str | None = None
    manifest: Manifest | None = None
    external: bool = False
    named: bool = False
    registry_url: str | None = None

    @property
    def exact_uri(self) -> str:
        """A URI that means this model now and later."""
        if self.name is not None and self.version is not None:
            return format_model_uri(self.name, self.version)
        return f"models:/{self.model_id}" if self.model_id else self.uri


def resolve(uri: str, *, registry_url: str | None = None, client: Client | None = None) -> ModelReference:
    """What `uri` names now; an alias, a stage and `latest` are pinned to the version they mean.

    `uri` is `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `models:/NAME/STAGE`, `models:/NAME/latest`,
    `models:/MODEL_ID`, `runs:/RUN_ID/PATH`, or a path or object-store URI of a model directory. The registry is
    `client`'s, else at `registry_url`, else where `TILTYARD_REGISTRY_URL` and its like say. A plain MLflow server
    will do; its models have no manifest.

    Raises:
        InvalidParameterValue: `uri` is none of these forms.
        ResourceDoesNotExist: it names nothing.
        TransportError: the registry gives no answer.
    """
    parsed = parse_model_uri(uri)
    if isinstance(parsed, DirectoryUri):
        return _directory(uri, parsed)
    with connected(client, registry_url) as known:
        if isinstance(parsed, LoggedModelUri):
            return _logged_model(known, uri, parsed.model_id)
        if isinstance(parsed, RunUri):
            return _run_directory(known, uri, parsed)
        return _registered(known, uri, parsed)


@contextmanager
def connected(client: Client | None, registry_url: str | None) -> Iterator[Client]:
    """`client`, or one of its own that is closed afterwards."""
    if client is not None:
        yield client
        return
    with Client(registry_url) as own:
        yield own


def _directory(uri: str, parsed: DirectoryUri) -> ModelReference:
    path = parsed.local_path
    if path is None:
        return ModelReference(uri, parsed.location, source=uri, named=True)
    manifest = Manifest.of_source(DirectorySource(path))
    location = str(path.resolve())
    return ModelReference(uri, location, digest=manifest.digest, source=uri, manifest=manifest, named=True)


def _registered(client: Client, uri: str, parsed: RegisteredUri) -> ModelReference:
    try:
        models = client.resolve([uri]).models
    except (EndpointNotFound, ResourceDoesNotExist):
        # A registry of ours answers 200 whatever the URI names: this server has no such endpoint.
        return _of_plain_server(client, uri, parsed)
    found = (models or [Unresolved(uri, ResourceDoesNotExist.code, f"Nothing is at '{uri}'.")])[0]
    if isinstance(found, Unresolved):
        error = from_answer(404, found.error_code, found.message)
        # Source: upstream's code for an alias that is not set. The URI itself was read without complaint.
        raise ResourceDoesNotExist(error.message) if isinstance(error, InvalidParameterValue) else error
    _check_ready(found.name, found.version, found.status)
    manifest = None if found.external else _manifest(client, found)
    exact = _version(client, uri, found, found.location)
    return replace(exact, digest=found.digest, manifest=manifest, external=found.external)


def _manifest(client: Client, found: Resolved) -> Manifest:
    came = client.manifest(found.name, found.version)
    files = tuple(ManifestFile(file.path, file.size_bytes, file.sha256) for file in came.files)
    manifest = Manifest.of(files)
    if manifest.digest != came.digest or came.digest != found.digest:
        raise ModelIntegrityError(
            f"The manifest of version {found.version} of '{found.name}' does not have the digest it is said to have."
        )
    return manifest


def _check_ready(name: str, version: str, status: str) -> None:
    if status == PENDING:
        raise TemporarilyUnavailable(f"Version {version} of '{name}' is still being registered.", retry_after_s=1.0)
    if status not in (READY, ""):
        raise ResourceConflict(f"Version {version} of '{name}' cannot be used: its status is {status}.")


def _of_plain_server(client: Client, uri: str, parsed: RegisteredUri) -> ModelReference:
    """Resolution through the calls that every MLflow server has."""
    found = _version_of_plain_server(client, parsed)
    _check_ready(found.name, found.version, found.status)
    location = client.get_model_version_download_uri(found.name, found.version)
    return replace(_version(client, uri, found, location), external=True)


def _version(client: Client, uri: str, found: Resolved | ModelVersion, location: str) -> ModelReference:
    return ModelReference(
        uri,
        location,
        name=found.name,
        version=int(found.version),
        run_id=found.run_id or None,
        model_id=found.model_id or None,
        source=found.source,
        registry_url=client.url,
    )


def _version_of_plain_server(client: Client, parsed: RegisteredUri) -> ModelVersion:
    match parsed:
        case VersionUri(name, version):
            return client.get_model_version(name, version)
        case AliasUri(name, alias):
            try:
                return client.get_model_version_by_alias(name, alias)
            except InvalidParameterValue as error:
                # Source: upstream answers 400 for an alias that is not set.
                raise ResourceDoesNotExist(error.message) from None
        case LatestUri(name):
            versions = client.get_latest_versions(name)
        case StageUri(name, stage):
            versions = client.get_latest_versions(name, [stage])
    if not versions:
        raise ResourceDoesNotExist(f"No version of model '{parsed.name}' is there.")
    return max(versions, key=lambda found: int(found.version))


def _logged_model(client: Client, uri: str, model_id: str) -> ModelReference:
    info = client.get_logged_model(model_id).info
    for registration in info.registrations:
        # The registration of the same files vouches for them.
        exact = format_model_uri(registration.name, registration.version)
        try:
            return replace(resolve(exact, client=client), uri=uri, model_id=model_id)
        except ResourceDoesNotExist:
            continue
    return ModelReference(
        uri,
        info.artifact_uri,
        run_id=info.source_run_id or None,
        model_id=model_id,
        source=uri,
        registry_url=client.url,
    )


def _run_directory(client: Client, uri: str, parsed: RunUri) -> ModelReference:
    run = client.get_run(parsed.run_id)
    location = f"{run.info.artifact_uri.rstrip('/')}/{parsed.path}"
    if location.startswith(PROXIED) and client.list_artifacts(proxied_path(location)):
        return ModelReference(uri, location, run_id=parsed.run_id, source=location, registry_url=client.url)
    # Since 3.0, upstream's `log_model` stores below the model and not below the run.
    name, _, rest = parsed.path.partition("/")
    if "'" not in name and not rest:
        models = client.search_logged_models(
            [run.info.experiment_id], f"name = '{name}' AND source_run_id = '{parsed.run_id}'"
        ).models
        if models:
            return replace(_logged_model(client, uri, models[0].info.model_id), run_id=parsed.run_id)
    if not location.startswith(PROXIED):
        return ModelReference(uri, location, run_id=parsed.run_id, source=location, registry_url=client.url)
    raise ResourceDoesNotExist(f"Run '{parsed.run_id}' has no model at '{parsed.path}'.")


PROXIED = "mlflow-artifacts:"


def proxied_path(location: str) -> str:
    """The path below the artifact root that an `mlflow-artifacts:/…` location names.

    Raises:
        InvalidParameterValue: it names another server.
    """
    rest = location.removeprefix(PROXIED)
    if rest.startswith("//") and not rest.startswith("///"):
        raise InvalidParameterValue(f"Artifacts at '{location[:200]}' lie behind another server.")
    return rest.strip("/")
