"""Where artifacts live: one protocol, one table of schemes, and a verified cache of what was read.

`open_store` is the door. A store is one module and one row in `SCHEMES`; its module is imported when a URI
of its scheme is first opened, so a plain install carries no object-store library.
"""

from pkgutil import resolve_name
from typing import cast
from urllib.parse import urlsplit

from tiltyard.errors import InvalidParameterValue
from tiltyard.storage.artifact_store import ArtifactStore, ArtifactWriter, Entry
from tiltyard.storage.manifest import Manifest, ManifestFile, digest_of

# Scheme of an artifact root to the class that serves it. The empty scheme is a path of this machine.
SCHEMES: dict[str, str] = {
    "": "tiltyard.storage.local:LocalStore",
    "file": "tiltyard.storage.local:LocalStore",
    "s3": "tiltyard.storage.objects:ObjectStore",
    "gs": "tiltyard.storage.objects:ObjectStore",
    "az": "tiltyard.storage.objects:ObjectStore",
    "memory": "tiltyard.storage.objects:ObjectStore",
}


def open_store(uri: str) -> ArtifactStore:
    """The store whose root is `uri`.

    A directory, `file://…`, `s3://bucket/prefix`, `gs://…`, `az://…` or `memory://name`.

    Raises:
        InvalidParameterValue: no store serves the scheme.
        MissingPackage: the scheme needs the extra `tiltyard[s3]`, which is not installed.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    target = SCHEMES.get(scheme)
    if target is None:
        known = ", ".join(sorted(name for name in SCHEMES if name))
        raise InvalidParameterValue(f"No artifact store serves '{scheme}://': expected a path or one of {known}.")
    return cast(ArtifactStore, resolve_name(target)(uri))


__all__ = [
    "SCHEMES",
    "ArtifactStore",
    "ArtifactWriter",
    "Entry",
    "Manifest",
    "ManifestFile",
    "digest_of",
    "open_store",
]
