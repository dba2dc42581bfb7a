"""Artifacts, and what the server can do."""

from urllib.parse import quote

from tiltyard.client.call import Call, nothing, reply
from tiltyard.wire.mlflow.artifacts import FileInfo, FilesReply
from tiltyard.wire.mlflow.server import ServerInfo

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def list_artifacts(path: str = "") -> Call[list[FileInfo]]:
    """What lies below the directory `path` of the artifact root, by base names."""
    return Call("GET", ARTIFACTS, reply(FilesReply, "files"), query={"path": path})


def delete_artifacts(path: str) -> Call[None]:
    """Removes a file or a tree; a missing one is no error."""
    return Call("DELETE", artifact_path(path), nothing)


def artifact_path(path: str) -> str:
    """The URL path of one artifact."""
    return f"{ARTIFACTS}/{quote(path, safe='/')}"


def server_info() -> Call[ServerInfo]:
    """What the server can do."""
    return Call("GET", "/api/3.0/mlflow/server-info", reply(ServerInfo))
