"""What the URIs of an MLflow server's artifacts are here."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tiltyard.errors import InvalidParameterValue, TiltyardError
from tiltyard.storage import ArtifactStore, open_store
from tiltyard.uri import LoggedModelUri, RunUri, parse_model_uri
from tiltyard_registry.importing.folder import Folder
from tiltyard_registry.store.artifacts.artifact_root import PROXY_SCHEME, ArtifactRoot, local_path, proxied_path


@dataclass(frozen=True, slots=True)
class Locations:
    """Where the server's artifacts lie, and where they lie here: below the root at the same path.

    Without a root of theirs their files are expected in ours already; what lies elsewhere stays there. `old_roots`
    are what their root was called when the server stored its locations. `rehomed` gathers the experiments whose
    location was a folder of the server's machine, which means nothing here.
    """

    ours: ArtifactRoot
    theirs: ArtifactRoot | None
    old_roots: Sequence[str] = ()
    rehomed: set[Any] = field(default_factory=set)

    @property
    def left_out(self) -> Mapping[str, str]:
        """What lies in their folder and cannot be copied, and why."""
        store = self.theirs.store if self.theirs else None
        return store.left_out if isinstance(store, Folder) else {}

    def prefix_of(self, uri: str) -> str | None:
        """The path below our root that `uri` of theirs names, or None when it names a place elsewhere."""
        if proxied := proxied_path(uri):
            return proxied
        for root in self.old_roots:
            if below := _below_old_root(uri, root):
                return below
        return (self.theirs or self.ours).prefix_of(uri) or None

    def here(self, uri: str) -> str:
        """What `uri` of theirs is called here."""
        prefix = self.prefix_of(uri)
        return uri if prefix is None else f"{PROXY_SCHEME}:/{prefix}"

    def home(self, experiment_id: Any, uri: str) -> str:
        """Where the new runs of an experiment of theirs are kept here.

        A folder that is not below their root would be one of each client's own machine, so it becomes ours.
        """
        here = self.here(uri or f"{PROXY_SCHEME}:/{experiment_id}")
        if not self.is_elsewhere(here) or local_path(here) is None:
            return here
        self.rehomed.add(experiment_id)
        return f"{PROXY_SCHEME}:/{experiment_id}"

    def is_elsewhere(self, here: str) -> bool:
        """Whether what is called so here does not lie below our root."""
        return self.ours.prefix_of(here) is None

    async def moved_from(self, uri: str) -> str | None:
        """What their root was called when `uri` was stored, if what lies below it lies below their root now."""
        parts = [part for part in urlsplit(uri).path.split("/") if part not in ("", ".")]
        for start in range(len(parts) if self.theirs else 0):
            below = "/".join(parts[start:])
            if self.theirs and below and uri.endswith(below) and await _has_folder(self.theirs.store, below):
                return uri[: -len(below)].rstrip("/") or "/"
        return None


def locations(
    artifact_root: str, theirs: str | None, *, old_roots: Sequence[str] = (), read_only: bool = False
) -> Locations:
    """The locations for our artifact root and, if it is given, the server's. Theirs is only ever read.

    Raises:
        InvalidParameterValue: no store serves a root, or theirs is a folder that is not there.
    """
    ours = ArtifactRoot(_reader(artifact_root) if read_only else open_store(artifact_root), artifact_root)
    if theirs is None:
        return Locations(ours, None, old_roots)
    path = local_path(theirs)
    if path is not None and not path.is_dir():
        raise InvalidParameterValue(f"There is no folder '{theirs}' (--artifacts).")
    return Locations(ours, ArtifactRoot(_reader(theirs), theirs), old_roots)


def _reader(root: str) -> ArtifactStore:
    path = local_path(root)
    return open_store(root) if path is None else Folder(path)


def _below_old_root(uri: str, root: str) -> str | None:
    """The path below a root by the texts alone, for that place may be one of another machine."""
    text, top = _plain(uri), _plain(root).rstrip("/")
    return text[len(top) + 1 :].strip("/") or None if text.startswith(f"{top}/") else None


def _plain(uri: str) -> str:
    path = local_path(uri)
    return uri if path is None else os.path.normpath(path)


async def _has_folder(store: ArtifactStore, path: str) -> bool:
    try:
        return (await store.head(path)).is_dir
    except TiltyardError:
        return False


def named_by(source: str) -> LoggedModelUri | RunUri | None:
    """The logged model, or the path below a run's artifacts, that a version's source names."""
    try:
        uri = parse_model_uri(source)
    except InvalidParameterValue:
        return None
    return uri if isinstance(uri, LoggedModelUri | RunUri) else None
