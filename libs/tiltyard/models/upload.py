"""The files of a model directory on their way into a logged model."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tiltyard.client import Client
from tiltyard.errors import ResourceDoesNotExist, TiltyardError, TransportError
from tiltyard.models.reference import proxied_path
from tiltyard.storage.sources import DirectorySource

DEFAULT_EXPERIMENT_ID = "0"
_PARALLEL_UPLOADS = 4


def upload_model(
    client: Client,
    directory: Path,
    name: str,
    *,
    experiment_id: str = DEFAULT_EXPERIMENT_ID,
    run_id: str | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    complete: Callable[[str, str], None] | None = None,
) -> str:
    """The id of a new logged model that holds the files of `directory`.

    `complete` is called with the id and the artifact URI before anything is uploaded. When something fails, the
    logged model is marked so, and the failure is raised.

    Raises:
        ResourceDoesNotExist: `directory` is none, or holds no files.
    """
    files = [path for path, _ in DirectorySource(directory).list_files()]
    if not files:
        raise ResourceDoesNotExist(f"'{directory}' holds no files.")
    created = client.create_logged_model(
        experiment_id, name=name, source_run_id=run_id or "", params=params, tags=tags
    ).info
    try:
        if run_id is not None:
            client.log_outputs(run_id, [created.model_id])
        if complete is not None:
            complete(created.model_id, created.artifact_uri)
        _upload(client, directory, files, proxied_path(created.artifact_uri))
        client.finalize_logged_model(created.model_id)
    except BaseException:
        # The first failure is the one to report.
        with suppress(TiltyardError, TransportError):
            client.finalize_logged_model(created.model_id, "UPLOAD_FAILED")
        raise
    return created.model_id


def _upload(client: Client, directory: Path, files: Sequence[str], root: str) -> None:
    with ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS) as pool:
        futures = [pool.submit(client.upload, f"{root}/{path}", directory / path) for path in files]
        for future in futures:
            future.result()
