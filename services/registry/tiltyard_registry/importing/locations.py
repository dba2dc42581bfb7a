"""What the URIs of an MLflow server's artifacts are here."""

from dataclasses import dataclass
from pathlib import Path

from tiltyard.errors import InvalidParameterValue
from tiltyard.storage import ArtifactStore, open_store
from tiltyard.storage.local import LocalStore
from tiltyard.uri import LoggedModelUri, RunUri, parse_model_uri
from tiltyard_registry.store.places import PROXY_SCHEME, Artifacts, local_path


@dataclass(frozen=True, slots=True)
class Locations:
    """Where the server's artifacts lie, and where they lie here: below the root at the same path.

    Without a root of theirs their files are expected in ours already; what lies elsewhere stays there.
    """

    ours: Artifacts
    theirs: Artifacts | None

    def prefix_of(self, uri: str) -> str | None:
        """The path below our root that `uri` of theirs names, or None when it names a place elsewhere."""
        return (self.theirs or self.ours).prefix_of(uri) or None

    def here(self, uri: str) -> str:
        """What `uri` of theirs is called here."""
        prefix = self.prefix_of(uri)
        return uri if prefix is None else f"{PROXY_SCHEME}:/{prefix}"


def locations(artifact_root: str, theirs: str | None, *, read_only: bool = False) -> Locations:
    """The locations for our artifact root and, if it is given, the server's. Theirs is only ever read.

    Raises:
        InvalidParameterValue: no store serves a root, or theirs is a folder that is not there.
    """
    ours = Artifacts(_reader(artifact_root) if read_only else open_store(artifact_root), artifact_root)
    if theirs is None:
        return Locations(ours, None)
    path = local_path(theirs)
    if path is not None and not path.is_dir():
        raise InvalidParameterValue(f"There is no folder '{theirs}' (--artifacts).")
    return Locations(ours, Artifacts(_reader(theirs), theirs))


class Folder(LocalStore):
    """A directory that is only read: nothing is created by opening it."""

    def __init__(self, path: Path) -> None:
        self.root = path.resolve()


def _reader(root: str) -> ArtifactStore:
    path = local_path(root)
    return open_store(root) if path is None else Folder(path)


def logged_model_of(source: str) -> str | None:
    """The id of the logged model that a version's source names."""
    try:
        uri = parse_model_uri(source)
    except InvalidParameterValue:
        return None
    return uri.model_id if isinstance(uri, LoggedModelUri) else None


def run_path_of(source: str) -> tuple[str, str] | None:
    """The run id and the path below its artifacts that a version's source names."""
    try:
        uri = parse_model_uri(source)
    except InvalidParameterValue:
        return None
    return (uri.run_id, uri.path) if isinstance(uri, RunUri) else None
