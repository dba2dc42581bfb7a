"""Files as upstream's web pages ask for them: by a run, a logged model or a version, and a path within it.

    GET  /get-artifact?run_id=&path=
    GET  /model-versions/get-artifact?name=&version=&path=
    GET  …/mlflow/logged-models/{id}/artifacts/files?artifact_file_path=
    POST …/mlflow/upload-artifact?run_uuid=&path=          at most 10 MiB

Each finds the place below the artifact root, and has the artifact proxy read or store the file: what is contained,
pinned, streamed and inert there is so here.

Source: mlflow/server/handlers.py, `get_artifact_handler`, `upload_artifact_handler`, tag v3.17.2.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from litestar import Request, asgi
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard import errors
from tiltyard.uri import safe_relative_path
from tiltyard_registry.api.artifacts.proxy import ArtifactProxy
from tiltyard_registry.api.framework.raw import ClientGone, Response, whole_body
from tiltyard_registry.api.framework.routes import get
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.keys import missing
from tiltyard_registry.rules.runs import either_run_id
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.experiments.logged_models import get_logged_model
from tiltyard_registry.store.models.model_versions import get_storage_location
from tiltyard_registry.store.runs.runs import get_run, get_upload_location
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session

MAX_UPLOAD_BYTES = 10 * 1024 * 1024

_MLFLOW = "/api/2.0/mlflow"

Place = tuple[str, str, str]
"""The URI of a directory, a path in it, and the parameter that the path came in."""

Find = Callable[[Session, Principal, dict[str, str], dict[str, Any]], Awaitable[Place]]


def artifact_page_routes(
    database: Database, artifacts: ArtifactRoot, principal_of: Callable[[Scope], Principal]
) -> list[ASGIRouteHandler | HTTPRouteHandler]:
    """The routes, to be given to Litestar. `principal_of` gives the caller of a scope."""
    proxy = ArtifactProxy(database, artifacts.store, principal_of)

    async def place(scope: Any, find: Find) -> str:
        query = _query(scope["query_string"])
        async with database.read() as session:
            uri, path, parameter = await find(session, principal_of(scope), query, scope.get("path_params", {}))
        below = safe_relative_path(path, parameter=parameter)
        if not below:
            raise errors.InvalidParameterValue(f"Invalid path for parameter '{parameter}': expected a file.")
        root = artifacts.prefix_of(uri)
        if root is None:
            raise errors.InvalidParameterValue(
                f"The artifacts at '{uri}' lie outside this registry's store and cannot be read through it."
            )
        return f"{root}/{below}"

    def reading(path: str, find: Find) -> HTTPRouteHandler:
        @get(path)
        async def read_artifact(request: Request[Any, Any, Any]) -> ASGIApp:
            """The bytes of one file."""
            file = await place(request.scope, find)

            async def answer(scope: Any, receive: Receive, send: Send) -> None:
                response = Response(send, head=scope["method"] == "HEAD")
                with suppress(ClientGone):
                    await proxy.read(principal_of(scope), file, dict(scope["headers"]), response, receive)

            return answer

        return read_artifact

    @asgi(f"{_MLFLOW}/upload-artifact", copy_scope=False)
    async def upload_artifact(scope: Any, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            raise errors.EndpointNotFound(f"No endpoint {scope['method']} for this path.")
        path = await place(scope, _upload)
        with suppress(ClientGone):
            body = await _body(scope, receive)
            await proxy.write(principal_of(scope), path, _once(body))
            await Response(send, head=False).whole(200, [], b"")

    return [
        reading("/get-artifact", _of_run),
        reading("/model-versions/get-artifact", _of_version),
        reading(f"{_MLFLOW}/logged-models/{{model_id:str}}/artifacts/files", _of_logged_model),
        upload_artifact,
    ]


async def _of_run(session: Session, who: Principal, query: dict[str, str], _: dict[str, Any]) -> Place:
    run_id = either_run_id(query.get("run_id", ""), query.get("run_uuid", ""))
    run = await get_run(session, who, run_id)
    return run["info"]["artifact_uri"], _required(query, "path"), "path"


async def _upload(session: Session, who: Principal, query: dict[str, str], _: dict[str, Any]) -> Place:
    run_id = either_run_id(query.get("run_id", ""), query.get("run_uuid", ""))
    path = _required(query, "path")
    return await get_upload_location(session, who, run_id), path, "path"


async def _of_version(session: Session, who: Principal, query: dict[str, str], _: dict[str, Any]) -> Place:
    name, version = _required(query, "name"), _required(query, "version")
    uri = await get_storage_location(session, who, name, version)
    return uri, _required(query, "path"), "path"


async def _of_logged_model(session: Session, who: Principal, query: dict[str, str], path: dict[str, Any]) -> Place:
    file = _required(query, "artifact_file_path")
    model = await get_logged_model(session, who, path["model_id"])
    return model["info"]["artifact_uri"], file, "artifact_file_path"


def _query(raw: bytes) -> dict[str, str]:
    """The parameters, of one that comes twice the first, as upstream reads them."""
    try:
        parsed = parse_qs(raw.decode("ascii", "strict"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise errors.InvalidParameterValue("The query of the request is not UTF-8 text.") from None
    return {name: values[0] for name, values in parsed.items()}


def _required(query: dict[str, str], name: str) -> str:
    value = query.get(name)
    if not value:
        raise missing(name)
    return value


async def _body(scope: Any, receive: Receive) -> bytes:
    """The whole body.

    Raises:
        ClientGone: the connection broke before its end, so that nothing is to be stored.
        InvalidParameterValue: there is none, or it is too large.
    """
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    too_large = errors.InvalidParameterValue("Artifact size is too large. Max size is 10MB.")
    if declared.isdigit() and int(declared) > MAX_UPLOAD_BYTES:
        raise too_large
    try:
        body = await whole_body(receive, max_bytes=MAX_UPLOAD_BYTES)
    except errors.PayloadTooLarge:
        raise too_large from None
    if not body:
        raise errors.InvalidParameterValue("Request must specify data.")
    return body


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
