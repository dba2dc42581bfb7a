"""The artifact root: which URIs lie in it, and where a new version's files shall lie."""

import asyncio
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tiltyard.storage import ArtifactStore

PROXY_SCHEME = "mlflow-artifacts"
UNITY_STORAGE = "__unitystorage"
_ARTIFACT_API = re.compile(r"/(?:api|ajax-api)/2\.0/mlflow-artifacts/artifacts/?(.*)")
_SAME_STORE = {"s3a": "s3", "s3n": "s3"}


@dataclass(frozen=True, slots=True)
class ArtifactRoot:
    """The store that this registry keeps artifacts in, and the URI of its root.

    `pending` is set when a version was registered whose files must be hashed in the background.
    """

    store: ArtifactStore
    root: str
    pending: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    @property
    def local_root(self) -> Path | None:
        """The root directory, or None when the root is an object store."""
        return local_path(self.root)

    def prefix_of(self, uri: str) -> str | None:
        """The path below the root that `uri` names, or None when it names a place elsewhere.

        The path is taken as it stands: it is the caller who checks it for `..` and the like.
        """
        if (proxied := proxied_path(uri)) is not None:
            return proxied
        parts = urlsplit(uri)
        if parts.scheme == PROXY_SCHEME:
            return uri[len(f"{PROXY_SCHEME}://{parts.netloc}") :].strip("/") if parts.netloc else parts.path.strip("/")
        path = local_path(uri)
        root = self.local_root
        if path is not None and root is not None:
            return _below(os.path.normpath(path), str(root.absolute())) or _below(
                os.path.normpath(path), str(root.resolve())
            )
        if path is not None or root is not None:
            return None
        return _below(_one_spelling(uri), _one_spelling(self.root))

    def model_storage(self, model_uuid: str) -> str:
        """The URI below which the versions of a model are reserved; nothing need be there."""
        prefix, root = f"{UNITY_STORAGE}/models/{model_uuid}", self.local_root
        return f"{self.root.rstrip('/')}/{prefix}" if root is None else (root.absolute() / prefix).as_uri()

    def version_storage(self, model_uuid: str, version_uuid: str) -> str:
        """The URI that the files of a version shall be written to."""
        return f"{self.model_storage(model_uuid)}/versions/{version_uuid}"

    async def make_directory(self, uri: str) -> None:
        """Makes the local directory that `uri` names; in an object store there is nothing to make."""
        path = None if self.local_root is None else local_path(uri)
        if path is not None:
            await asyncio.to_thread(path.mkdir, mode=0o700, parents=True, exist_ok=True)


def proxied_path(uri: str) -> str | None:
    """The path that `uri` names below a server's artifact proxy, by its HTTP address; None for any other URI."""
    if not uri.lower().startswith(("http://", "https://")):
        return None
    found = _ARTIFACT_API.search(urlsplit(uri).path)
    return unquote(found.group(1)).strip("/") if found else None


def is_reserved(prefix: str) -> bool:
    """Whether the registry chose this place for a version, so that its `source` says nothing of it."""
    return prefix.startswith(f"{UNITY_STORAGE}/")


def local_path(uri: str) -> Path | None:
    """The path of this machine that `uri` names, or None when it has a scheme other than `file`."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path)) if parts.netloc in ("", "localhost") else None
    return None if parts.scheme else Path(uri)


def _below(path: str, root: str) -> str | None:
    root = root.rstrip("/")
    if path == root:
        return ""
    return path[len(root) + 1 :].strip("/") if path.startswith(f"{root}/") else None


def _one_spelling(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{_SAME_STORE.get(scheme.lower(), scheme.lower())}{separator}{rest}"
