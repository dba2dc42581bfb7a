"""What a version is made of. Path: /api/tiltyard/v1/models/{name}/versions/{version}/manifest"""

from msgspec import Struct


class ManifestFile(Struct):
    """One file of a version; `path` is relative to the model directory, with '/' between its parts."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(Struct):
    """What a version is, byte for byte. An external version has no digest and no files."""

    name: str
    version: str
    digest: str | None
    size_bytes: int | None
    external: bool
    location: str
    files: list[ManifestFile]
