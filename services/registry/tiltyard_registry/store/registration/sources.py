"""Where a new version's files come from: what each kind of source must prove, and where it leads.

| source                                    | must                                              |
| ----------------------------------------- | ------------------------------------------------- |
| `models:/m-…`                             | be the logged model that `model_id` names          |
| `models:/name/3`                          | be a READY version; it is copied, no byte moves    |
| `runs:/id/path`                           | lie in the run that `run_id` names                 |
| `mlflow-artifacts:/…`, our artifact URLs  | lie in the artifacts of that run or logged model   |
| a local path, `file:`                     | the same                                           |
| `s3://…`, any other store                 | inside our root: be one model; else it is external |

Source: mlflow/server/handlers.py, `_validate_source_run`, `_validate_source_model`, tag v3.17.2.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import desc, select

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard.names import parse_model_name
from tiltyard.uri import LoggedModelUri, RunUri, VersionUri, check_no_way_out, parse_model_uri, safe_relative_path
from tiltyard.version_status import READY
from tiltyard_registry.rules import limits, prompts
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.rules.lifecycle import ACTIVE, PURGING
from tiltyard_registry.store import access
from tiltyard_registry.store.artifacts.artifact_root import PROXY_SCHEME, ArtifactRoot, local_path, proxied_path
from tiltyard_registry.store.artifacts.paths import scope_of
from tiltyard_registry.store.registration.source_text import (
    WITHOUT_HOST,
    check_source,
    check_uri,
    names_a_store,
    scheme_of,
)
from tiltyard_registry.store.sql.session import Found, Session
from tiltyard_registry.tables.experiments import logged_models
from tiltyard_registry.tables.models import model_versions, registered_model_tags, registered_models
from tiltyard_registry.tables.runs import runs

HasFiles = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a source leads.

    `prefix` is the path below our artifact root, None when the files lie elsewhere. `manifest_digest` is known
    already only of a copy.
    """

    storage_location: str
    prefix: str | None
    run_id: str | None
    model_id: str | None
    manifest_digest: str | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    who: Principal
    source: str
    run_id: str | None
    model_id: str | None

    def refuse(self, reason: str) -> InvalidParameterValue:
        return InvalidParameterValue(f"Invalid model version source: '{self.source[:300]}'. {reason}")


async def locate(
    session: Session,
    who: Principal,
    artifacts: ArtifactRoot,
    source: str,
    *,
    run_id: str | None,
    model_id: str | None,
    has_files: HasFiles,
) -> Location:
    """Where `source` leads, once it has proved what it must. It says nothing of files being there.

    `has_files` says of a path below our root whether anything lies there. It is asked of a run's directory, which may
    hold nothing when the model was logged beside it. Within a transaction it must not ask the store.

    Raises:
        InvalidParameterValue: it proves too little, is unsafe, or is of no kind that can be registered.
        ResourceDoesNotExist: the run, logged model or version that it names is missing, or `who` may not see it.
        PermissionDenied: they may not read its files.
    """
    request = _Request(who, _checked_source(artifacts, source), run_id or None, model_id or None)
    if request.run_id:
        check_length(request.run_id, limits.MAX_RUN_ID_CHARS, "run_id")
    logged = await _logged_model(session, who, request.model_id) if request.model_id else None
    scheme = scheme_of(source)
    if scheme == "models":
        return await _of_model(session, artifacts, request, logged)
    if scheme == "runs":
        return await _of_run(session, artifacts, request, has_files)
    prefix = _proxied(source, scheme)
    if prefix is not None:
        return await _of_proxy(session, artifacts, request, logged, prefix)
    if scheme in ("", "file"):
        return await _of_path(session, artifacts, request, logged)
    if not names_a_store(source):
        raise request.refuse(
            "Expected 'models:/…', 'runs:/…', 'mlflow-artifacts:/…', or the URI of a directory in an object store."
        )
    return _checked(request, source, artifacts.prefix_of(source))


def is_version(source: str) -> bool:
    """Whether `source` names a version, to be copied."""
    return source.startswith("models:/") and isinstance(parse_model_uri(source), VersionUri)


def _checked_source(artifacts: ArtifactRoot, source: str) -> str:
    """`source` by the rules of the store that it names: ours are none of another's.

    Raises:
        InvalidParameterValue: too long, no URI, a control character, `..` in any encoding; of our own places also
            slashes that mean nothing.
    """
    check_length(source, limits.MAX_SOURCE_CHARS, "source")
    check_uri(source)
    scheme = scheme_of(source)
    ours = scheme in ("", "file", "models", "runs", PROXY_SCHEME) or _proxied(source, scheme) is not None
    if ours or not names_a_store(source) or artifacts.prefix_of(source) is not None:
        return check_source(source)
    check_no_way_out(source, parameter="source")
    if not source.partition("://")[2].strip("/") and scheme not in WITHOUT_HOST:
        raise InvalidParameterValue(f"Invalid model version source: '{source[:300]}'. It names no place.")
    return source


def _proxied(source: str, scheme: str) -> str | None:
    """The path below our root that a URI of the artifact proxy names, or None for any other URI."""
    if scheme == PROXY_SCHEME:
        return urlsplit(source).path.strip("/")
    return proxied_path(source)


async def _of_model(session: Session, artifacts: ArtifactRoot, request: _Request, logged: Found | None) -> Location:
    uri = parse_model_uri(request.source)
    if isinstance(uri, LoggedModelUri):
        if logged is None or uri.model_id != request.model_id:
            raise request.refuse("The request parameter 'model_id' has to name the same logged model.")
        return _in_logged_model(request, artifacts, logged)
    if isinstance(uri, VersionUri):
        return await _copy(session, request, uri)
    raise request.refuse("Expected a logged model ('models:/m-…') or an exact version ('models:/NAME/VERSION').")


def _in_logged_model(request: _Request, artifacts: ArtifactRoot, model: Found) -> Location:
    location = model["artifact_uri"]
    run_id = request.run_id or model["source_run_id"] or None
    return _checked(request, location, artifacts.prefix_of(location), run_id, model["model_id"])


async def _copy(session: Session, request: _Request, uri: VersionUri) -> Location:
    shown = parse_model_name(uri.name).shown
    query = (
        select(model_versions)
        .join_from(model_versions, registered_models)
        .where(registered_models.c.name == shown, model_versions.c.version == uri.version)
        # It must not go, and its pin with it, before the copy is there.
        .with_for_update(read=True, of=model_versions)
    )
    found = await session.one(access.held(query, request.who, access.MODELS, Privilege.EXECUTE))
    missing = ResourceDoesNotExist(f"Model Version (name={shown}, version={uri.version}) not found")
    row = access.admit(request.who, Privilege.EXECUTE, found, missing, f"registered model {shown}")
    tag = registered_model_tags.c
    of_model = tag.registered_model_id == row["registered_model_id"]
    prompt = select(tag.value).where(of_model, tag.key == prompts.PROMPT_TAG)
    if row["storage_location"] == prompts.LOCATION or str(await session.scalar(prompt)).lower() == "true":
        raise request.refuse("It is a prompt, not a model.")
    if row["status"] != READY:
        raise request.refuse(f"The version is not ready: its status is {row['status']}.")
    for parameter, given in (("run_id", request.run_id), ("model_id", request.model_id)):
        if given and given != row[parameter]:
            raise request.refuse(f"The request parameter '{parameter}' differs from that of the version.")
    return Location(
        row["storage_location"], row["pinned_prefix"], row["run_id"], row["model_id"], row["manifest_digest"]
    )


async def _of_run(session: Session, artifacts: ArtifactRoot, request: _Request, has_files: HasFiles) -> Location:
    uri = parse_model_uri(request.source)
    if not isinstance(uri, RunUri) or uri.run_id != request.run_id:
        raise request.refuse("The request parameter 'run_id' has to name the same run.")
    run = await _run(session, request.who, uri.run_id)
    location = f"{run['artifact_uri'].rstrip('/')}/{uri.path}"
    prefix = artifacts.prefix_of(location)
    if prefix is not None and not await has_files(prefix):
        # Upstream's clients log a model beside the run's own artifacts, and still name it by the run.
        logged = await session.one(
            select(logged_models)
            .where(
                logged_models.c.source_run_id == uri.run_id,
                logged_models.c.name == uri.path,
                logged_models.c.lifecycle_stage == ACTIVE,
                *access.visible(request.who, access.LOGGED_MODELS, Privilege.READ),
            )
            .order_by(desc(logged_models.c.creation_timestamp_ms))
            .limit(1)
        )
        if logged is not None:
            return _in_logged_model(request, artifacts, logged)
    return _checked(request, location, prefix)


async def _of_proxy(
    session: Session, artifacts: ArtifactRoot, request: _Request, logged: Found | None, prefix: str
) -> Location:
    safe = safe_relative_path(prefix, parameter="source")
    for root in await _roots(session, request, logged):
        if _is_inside(safe, artifacts.prefix_of(root)):
            return _checked(request, f"{PROXY_SCHEME}:/{safe}", safe)
    raise request.refuse(
        "To use an artifact of this server as a model version source, the run_id or model_id request parameter has "
        "to be specified and the source has to be contained within the artifact directory of that run or model."
    )


async def _of_path(session: Session, artifacts: ArtifactRoot, request: _Request, logged: Found | None) -> Location:
    path = local_path(request.source)
    if path is not None and path.is_absolute():
        normal = _normal(path)
        prefix = artifacts.prefix_of(normal)
        for root in await _roots(session, request, logged):
            if prefix is not None and _is_inside(prefix, artifacts.prefix_of(root)):
                return _checked(request, f"{PROXY_SCHEME}:/{prefix}", prefix)
            directory = local_path(root)
            if prefix is None and directory is not None and _is_inside(normal, _normal(directory)):
                return _checked(request, request.source, None)
    raise request.refuse(
        "To use a local path as a model version source, the run_id or model_id request parameter has to be "
        "specified and the local path has to be contained within the artifact directory of that run or model."
    )


def _checked(
    request: _Request,
    location: str,
    prefix: str | None,
    run_id: str | None = None,
    model_id: str | None = None,
) -> Location:
    if prefix is not None and scope_of(prefix) is None:
        raise request.refuse("It holds more than one model's files.")
    return Location(location, prefix, run_id or request.run_id, model_id or request.model_id)


async def _roots(session: Session, request: _Request, logged: Found | None) -> list[str]:
    run = await _run(session, request.who, request.run_id) if request.run_id else None
    return [owner["artifact_uri"] for owner in (run, logged) if owner is not None]


async def _run(session: Session, who: Principal, run_id: str) -> Found:
    # Shared, so that its files do not begin to go before the version is there.
    query = select(runs).where(runs.c.run_id == run_id, runs.c.lifecycle_stage != PURGING)
    row = await session.one(access.held(query.with_for_update(read=True), who, access.RUNS, Privilege.READ))
    missing = ResourceDoesNotExist(f"Run with id={run_id[:80]} not found")
    return access.admit(who, Privilege.READ, row, missing, f"the experiment of run {run_id}")


async def _logged_model(session: Session, who: Principal, model_id: str) -> Found:
    check_length(model_id, limits.MAX_RUN_ID_CHARS, "model_id")
    query = select(logged_models).where(logged_models.c.model_id == model_id, logged_models.c.lifecycle_stage == ACTIVE)
    row = await session.one(access.held(query.with_for_update(read=True), who, access.LOGGED_MODELS, Privilege.READ))
    missing = ResourceDoesNotExist(f"Logged model with ID '{model_id}' not found.")
    return access.admit(who, Privilege.READ, row, missing, f"the experiment of logged model {model_id}")


def _normal(path: Path) -> str:
    # By its text alone: the file system of the server is not asked about paths that a caller made up.
    return os.path.normpath(path)


def _is_inside(path: str, root: str | None) -> bool:
    return bool(root) and (path == root or path.startswith(f"{root}/"))
