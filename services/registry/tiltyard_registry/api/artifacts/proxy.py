"""The artifact proxy as a raw ASGI app: bodies are streamed both ways, status and headers are exact.

    GET    …/artifacts?path=DIR       {"files": [...]}, paths are base names
    GET    …/artifacts/PATH           the bytes; `Range` and `If-Range` are honoured
    PUT    …/artifacts/PATH           stores the body, hashed as it streams
    DELETE …/artifacts/PATH           removes a file or a tree
    …/mpu/…, …/presigned/…            transfers past the registry: `direct_transfers`

Mounting, under both `/api/2.0/mlflow-artifacts` and `/ajax-api/2.0/mlflow-artifacts`:

    handlers = artifact_routes(database, artifact_store, principal_of)

The path of a file is read from the request's undecoded path and decoded once, so that no other layer's idea of
an encoded slash or dot takes part.

Source: mlflow/server/handlers.py, mlflow/store/artifact/mlflow_artifacts_repo.py (3.17).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, quote, unquote_to_bytes

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from tiltyard import errors
from tiltyard.server.head_requests import is_head
from tiltyard.storage import ArtifactStore
from tiltyard.wire.mlflow.artifacts import FileInfo, FilesReply
from tiltyard.wire.tags import Empty
from tiltyard_registry.api.artifacts.direct_transfers import DirectTransfers
from tiltyard_registry.api.artifacts.file_headers import file_headers_of, span_of
from tiltyard_registry.api.framework.raw import ClientGone, Request, Response, body, path_text
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.artifacts import files, paths
from tiltyard_registry.store.sql.database import Database

PREFIXES = ("/api/2.0/mlflow-artifacts", "/ajax-api/2.0/mlflow-artifacts")

# To take so much in vain costs less than to ask twice whether it may be stored.
_SMALL_BYTES = 256 * 1024
_MARK = b"/mlflow-artifacts/"
# A file may change between the look at it and its first byte; more often than this is not an accident.
_READ_TRIES = 3


def artifact_routes(
    database: Database,
    artifact_store: ArtifactStore,
    principal_of: Callable[[Scope], Principal],
    *,
    direct_transfers: bool = True,
) -> list[ASGIRouteHandler]:
    """The mount of the proxy under both prefixes, to be given to Litestar as route handlers.

    `principal_of` gives the caller that the authentication middleware found for a scope; it may raise
    `Unauthenticated`. Errors are raised, for the app's exception handlers to answer; one that comes after the
    status went out breaks the connection. With `direct_transfers`, clients may pass large files by the registry
    where the store offers it.
    """
    proxy = ArtifactProxy(database, artifact_store, principal_of, direct_transfers=direct_transfers)

    @asgi(list(PREFIXES), is_mount=True, copy_scope=False)
    async def mlflow_artifacts(scope: Scope, receive: Receive, send: Send) -> None:
        await proxy(scope, receive, send)

    return [mlflow_artifacts]


async def list_files(artifact_store: ArtifactStore, path: str) -> list[FileInfo]:
    """What lies in the directory `path`, by base names; nothing for a file or a missing path."""
    return [
        FileInfo(entry.name, entry.is_dir, None if entry.is_dir else entry.size_bytes)
        async for entry in artifact_store.list(path)
    ]


class ArtifactProxy:
    """The ASGI app. It keeps nothing between requests."""

    def __init__(
        self,
        database: Database,
        artifact_store: ArtifactStore,
        principal_of: Callable[[Scope], Principal],
        *,
        direct_transfers: bool = True,
    ) -> None:
        self._database = database
        self._store = artifact_store
        self._principal_of = principal_of
        direct = DirectTransfers(database, artifact_store, offered=direct_transfers)
        self._answers: dict[tuple[str, str], Callable[[Request, Response], Awaitable[None]]] = {
            ("artifacts", "GET"): self._get,
            ("artifacts", "HEAD"): self._get,
            ("artifacts", "PUT"): self._put,
            ("artifacts", "DELETE"): self._delete,
            ("mpu", "POST"): direct.upload,
            ("presigned", "GET"): direct.download,
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = self._read(scope, receive)
        answer = self._answers.get((request.resource, request.method))
        if answer is None:
            raise errors.EndpointNotFound(f"No endpoint {request.method} for this path.")
        with suppress(ClientGone):
            await answer(request, Response(send, head=request.method == "HEAD"))

    def _read(self, scope: Any, receive: Receive) -> Request:
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        # By the specification the query is no part of the raw path; some servers leave it in.
        below = raw.partition(b"?")[0].partition(_MARK)[2]
        resource, _, path = below.partition(b"/")
        return Request(
            "HEAD" if is_head(scope) else scope["method"],
            resource.decode("ascii", "replace"),
            path_text(unquote_to_bytes(path)),
            scope.get("query_string", b""),
            dict(scope["headers"]),
            self._principal_of(scope),
            receive,
        )

    async def _get(self, request: Request, response: Response) -> None:
        if not request.path:
            await self._list(request, response)
            return
        await self.read(request.who, request.path, request.headers, response, request.receive)

    async def read(
        self, who: Principal, path: str, headers: dict[bytes, bytes], response: Response, receive: Receive
    ) -> None:
        """Answers with the file at `path`, or the range of it that the request's `headers` ask for.

        Raises:
            ResourceDoesNotExist: there is no such file.
            InvalidParameterValue: the path is unsafe, or names a directory.
            ClientGone: nobody reads the answer any more.
        """
        path = await files.check_readable(self._database, who, path)
        for attempt in range(1, _READ_TRIES + 1):
            entry = await self._store.head(path)
            if entry.is_dir:
                raise errors.InvalidParameterValue(
                    f"Invalid path '{path}': it is a directory; its files are listed with '?path='."
                )
            span = span_of(headers, entry)
            if span is None:
                await response.whole(416, [(b"content-range", b"bytes */%d" % entry.size_bytes)], b"")
                return
            chunks = self._store.get(path, span.start, span.end, etag=entry.etag)
            try:
                await response.stream(span.status, file_headers_of(entry, span), chunks, receive)
            except errors.ResourceConflict:
                if response.started or attempt == _READ_TRIES:
                    raise
            else:
                return

    async def _list(self, request: Request, response: Response) -> None:
        # Latin-1 maps every byte to a character and back, so the decoding stays ours.
        query = parse_qs(request.query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        given = query.get("path", [""])
        if len(set(given)) != 1:
            raise errors.InvalidParameterValue("Parameter 'path' was given more than once.")
        path = await files.check_readable(self._database, request.who, path_text(given[0].encode("latin-1")))
        await response.json(FilesReply(await list_files(self._store, path)))

    async def _put(self, request: Request, response: Response) -> None:
        if not request.path or request.path.endswith("/"):
            raise errors.InvalidParameterValue(f"Invalid path '{request.path[:80]}': expected the path of a file.")
        if b"content-range" in request.headers:
            raise errors.InvalidParameterValue("A part of a file cannot be stored: send it whole.")
        length = request.headers.get(b"content-length", b"")
        is_small = length.isdigit() and int(length) <= _SMALL_BYTES
        await self.write(request.who, request.path, body(request.receive), is_small=is_small)
        await response.whole(200, [], b"")

    async def write(self, who: Principal, path: str, chunks: AsyncIterator[bytes], *, is_small: bool = False) -> None:
        """Stores a file at `path`, hashed as it streams. When `chunks` raises, nothing of it is stored.

        Whether they may is asked before it becomes visible, and of what is not small also before it is sent.

        Raises:
            InvalidParameterValue: the path is unsafe, or a directory.
            ResourceConflict: a registered version is made of what is there.
        """
        path = paths.check_path(path)
        if not is_small:
            async with self._database.read() as session:
                await files.check_writable(session, who, path)
        await files.store(self._database, who, self._store, path, chunks)

    async def _delete(self, request: Request, response: Response) -> None:
        path = paths.check_path(request.path)
        await files.delete(self._database, request.who, self._store, path)
        await response.json(Empty())
