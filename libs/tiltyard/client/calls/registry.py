"""Our own additions: aliases with their memory, manifests, batch jobs, events, and what a URI names."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tiltyard.client.call import Answer, Call, decode, nothing, reply
from tiltyard.client.calls import OWN, given, quoted
from tiltyard.errors import InternalError
from tiltyard.wire.v1.aliases import AliasesReply, AliasHistoryPage, AliasState, Change, Changes, SetAlias
from tiltyard.wire.v1.batch_jobs import BatchJob, BatchJobsPage, RecordBatchJob
from tiltyard.wire.v1.events import EventsPage
from tiltyard.wire.v1.manifests import Manifest
from tiltyard.wire.v1.resolution import Resolved, ResolveReply, Unresolved


def _model(name: str) -> str:
    return f"{OWN}/models/{quoted(name)}"


def _version(name: str, version: int | str) -> str:
    return f"{_model(name)}/versions/{quoted(str(version))}"


def _expecting(version: int | str | None) -> dict[str, str]:
    if version is None:
        return {}
    return {"If-None-Match": "*"} if version == "" else {"If-Match": f'"{version}"'}


def _alias(name: str, alias: str) -> str:
    return f"{_model(name)}/aliases/{quoted(alias)}"


def set_alias(
    name: str, alias: str, version: int | str, *, expected_version: int | str | None = None
) -> Call[AliasState]:
    """Makes `alias` name `version`; with `expected_version`, only if it names that one now.

    An `expected_version` of `""` means that the alias must be absent.

    Raises:
        ResourceConflict: the alias names another version than expected.
        ResourceDoesNotExist: there is no such version.
    """
    request = SetAlias(str(version))
    return Call("PUT", _alias(name, alias), reply(AliasState), request, headers=_expecting(expected_version))


def get_alias(name: str, alias: str, *, at_ms: int | None = None) -> Call[AliasState]:
    """The version that an alias names, or named `at_ms` milliseconds after the epoch."""
    return Call("GET", _alias(name, alias), reply(AliasState), query=given(at=at_ms))


def delete_alias(name: str, alias: str, *, expected_version: int | str | None = None) -> Call[None]:
    """Removes an alias; an absent one is no error.

    Raises:
        ResourceConflict: the alias names another version than expected.
    """
    return Call("DELETE", _alias(name, alias), nothing, headers=_expecting(expected_version))


def get_aliases(name: str, *, at_ms: int | None = None) -> Call[list[AliasState]]:
    """The aliases of a model, now or as they were `at_ms` milliseconds after the epoch."""
    return Call("GET", f"{_model(name)}/aliases", reply(AliasesReply, "aliases"), query=given(at=at_ms))


def rollback_alias(name: str, alias: str, *, expected_version: int | str | None = None) -> Call[AliasState]:
    """Moves an alias back to the version that it named before; twice ends where it began.

    Raises:
        ResourceConflict: the alias names another version than expected.
        ResourceDoesNotExist: there is nothing to go back to.
    """
    path = f"{_alias(name, alias)}/rollback"
    return Call("POST", path, reply(AliasState), headers=_expecting(expected_version), creates=True)


def alias_history(
    name: str, alias: str, *, max_results: int | None = None, page_token: str | None = None
) -> Call[AliasHistoryPage]:
    """The moves of an alias, newest first."""
    path = f"{_alias(name, alias)}/history"
    return Call("GET", path, reply(AliasHistoryPage), query=given(max_results=max_results, page_token=page_token))


def apply_changes(changes: Sequence[Change]) -> Call[None]:
    """Applies alias and tag changes, all or none."""
    return Call("POST", f"{OWN}/changes", nothing, Changes(list(changes)))


def manifest(name: str, version: int | str) -> Call[Manifest]:
    """The files of a version with their hashes, and where they are read."""
    return Call("GET", f"{_version(name, version)}/manifest", reply(Manifest))


def record_batch_job(name: str, version: int | str, job_id: str, record: RecordBatchJob) -> Call[BatchJob]:
    """Records that a job scores with a version, or how it ended; repeating it is safe.

    Raises:
        ResourceConflict: the job ended otherwise before.
    """
    return Call("PUT", f"{_version(name, version)}/batch-jobs/{quoted(job_id)}", reply(BatchJob), record)


def list_batch_jobs(
    name: str, version: int | str, *, max_results: int | None = None, page_token: str | None = None
) -> Call[BatchJobsPage]:
    """One page of the jobs that scored with a version, newest first."""
    query = given(max_results=max_results, page_token=page_token)
    return Call("GET", f"{_version(name, version)}/batch-jobs", reply(BatchJobsPage), query=query)


def events(
    *,
    model: str | None = None,
    principal: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    max_results: int | None = None,
    page_token: str | None = None,
) -> Call[EventsPage]:
    """One page of what changed in the registry."""
    query = given(
        model=model,
        principal=principal,
        since=since_ms,
        until=until_ms,
        max_results=max_results,
        page_token=page_token,
    )
    return Call("GET", f"{OWN}/events", reply(EventsPage), query=query)


class Resolution(msgspec.Struct, frozen=True):
    """What model URIs name now. `models` is None when nothing changed since the ETag that was sent."""

    models: list[Resolved | Unresolved] | None
    etag: str


def resolve(uris: Sequence[str], *, wait_s: float = 0.0, etag: str | None = None) -> Call[Resolution]:
    """What `models:/` URIs name now, one entry for each in the same order.

    With the `etag` of an earlier answer the server waits up to `wait_s` seconds for a change.
    """

    def read(answer: Answer) -> Resolution:
        came = answer.headers.get("etag", "")
        if answer.status == 304:
            return Resolution(None, came or etag or "")
        models = decode(answer.body, ResolveReply).models
        if len(models) != len(uris):
            raise InternalError(f"The server resolved {len(models)} of {len(uris)} URIs.")
        return Resolution(models, came)

    query: dict[str, Any] = {"uri": list(uris)}
    headers = {}
    if etag:
        headers = {"If-None-Match": etag}
        if wait_s:
            query["wait"] = f"{wait_s:g}"
    return Call("GET", f"{OWN}/resolve", read, query=query, headers=headers, wait_s=wait_s)
