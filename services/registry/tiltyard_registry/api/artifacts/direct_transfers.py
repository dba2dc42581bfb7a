"""Transfers that pass the registry by: uploads in parts, and presigned downloads, where the store offers them.

    POST …/mpu/create/DIR      {"path", "num_parts"}              where to put each part
    POST …/mpu/complete/DIR    {"path", "upload_id", "parts"}     the file is there
    POST …/mpu/abort/DIR       {"path", "upload_id"}              nothing is left of it
    GET  …/presigned/PATH                                         where to read the file

Source: mlflow/server/handlers.py, `_create_multipart_upload_artifact` and its neighbours, tag v3.17.2.
"""

import asyncio
import re
from typing import TypeVar

from tiltyard import errors
from tiltyard.storage import ArtifactStore
from tiltyard.storage import artifact_store as storage
from tiltyard.wire.mlflow import artifacts as wire
from tiltyard.wire.tags import Empty
from tiltyard_registry.api.framework.binding import decode_aside
from tiltyard_registry.api.framework.body_limits import DEFAULT_MAX_VALUES
from tiltyard_registry.api.framework.raw import Request, Response, whole_body
from tiltyard_registry.store.artifacts import direct_transfers, files, paths
from tiltyard_registry.store.sql.database import Database

# Clients know by these texts that they have to send and fetch the file through us.
NO_MULTIPART = "Multipart upload is not supported for the current artifact repository"
NO_PRESIGNED = "Multipart download is not supported for the current artifact repository"

# Ten thousand parts, each with its presigned URL, which the stock client sends back.
_MAX_BODY_BYTES = 4 << 20
_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\")

T = TypeVar("T")


class DirectTransfers:
    """The answers to `mpu` and `presigned`; 501 where the store, or who runs the registry, does not offer them."""

    def __init__(self, database: Database, artifact_store: ArtifactStore, *, offered: bool) -> None:
        self._database = database
        self._store = artifact_store
        self._offered = offered

    async def upload(self, request: Request, response: Response) -> None:
        """Begins, completes or gives up an upload."""
        action, _, directory = request.path.partition("/")
        answer = {"create": self._create, "complete": self._complete, "abort": self._abort}.get(action)
        if answer is None:
            raise errors.EndpointNotFound("No endpoint for this path.")
        paths.check_path(directory)
        direct = await self._direct(NO_MULTIPART)
        await answer(request, response, direct, directory)

    async def download(self, request: Request, response: Response) -> None:
        """Says where to read a file."""
        paths.check_path(request.path)
        direct = await self._direct(NO_PRESIGNED)
        url, size_bytes = await direct_transfers.download_url(
            self._database, request.who, self._store, direct, request.path
        )
        await response.json(wire.PresignedDownload(url, {}, size_bytes))

    async def _create(
        self, request: Request, response: Response, direct: storage.DirectTransfers, directory: str
    ) -> None:
        asked = await _read(request, wire.CreateUpload)
        async with self._database.read() as session:
            path = await files.check_writable(session, request.who, _file(directory, asked.path))
        upload_id, urls = await direct.create_upload(path, asked.num_parts)
        credentials = [wire.PartCredential(url, number, {}) for number, url in enumerate(urls, 1)]
        await response.json(wire.UploadCreated(upload_id, credentials))

    async def _complete(
        self, request: Request, response: Response, direct: storage.DirectTransfers, directory: str
    ) -> None:
        asked = await _read(request, wire.CompleteUpload)
        parts = [(part.part_number, part.etag) for part in asked.parts]
        path = paths.check_path(_file(directory, asked.path))
        await direct_transfers.complete_upload(self._database, request.who, direct, path, asked.upload_id, parts)
        await response.json(Empty())

    async def _abort(
        self, request: Request, response: Response, direct: storage.DirectTransfers, directory: str
    ) -> None:
        asked = await _read(request, wire.AbortUpload)
        path = _file(directory, asked.path)
        await direct_transfers.abort_upload(self._database, request.who, direct, path, asked.upload_id)
        await response.json(Empty())

    async def _direct(self, refusal: str) -> storage.DirectTransfers:
        # Which keys there are may have to be asked of the network, once.
        direct = await asyncio.to_thread(lambda: self._store.direct) if self._offered else None
        if direct is None:
            raise errors.NotImplementedYet(refusal)
        return direct


async def _read(request: Request, kind: type[T]) -> T:
    body = await whole_body(request.receive, max_bytes=_MAX_BODY_BYTES)
    content_type = request.headers.get(b"content-type", b"").decode("latin-1") or None
    return await decode_aside(body or b"{}", content_type, kind, DEFAULT_MAX_VALUES)


def _file(directory: str, client_path: str) -> str:
    """The path of the file: of the path on the client's machine only the last part is of interest."""
    separators = r"[/\\]" if _WINDOWS.match(client_path) else "/"
    name = re.split(separators, client_path)[-1]
    if not name:
        raise errors.InvalidParameterValue(f"Invalid path '{client_path[:80]}': expected the path of a file.")
    return f"{directory.rstrip('/')}/{name}".lstrip("/")
