"""Artifacts. Paths: /api/2.0/mlflow-artifacts/…, /api/2.0/mlflow/artifacts/…"""

from typing import Annotated

from msgspec import Meta, Struct

from tiltyard.wire.tags import Text


class FileInfo(Struct, omit_defaults=True):
    """A file or a directory of a listing; a directory has no size."""

    path: str
    # Always there: the stock client reads it without asking whether it is.
    is_dir: bool
    file_size: int | None = None


class FilesReply(Struct, omit_defaults=True):
    """A listing through the proxy: paths are base names."""

    files: list[FileInfo] = []


class RunFilesReply(Struct, omit_defaults=True):
    """A listing of a run: paths are relative to the run."""

    root_uri: str
    files: list[FileInfo] = []


class CreateUpload(Struct, omit_defaults=True):
    """Of `path`, which is the client's own, the last part is the name of the file."""

    path: Text
    num_parts: Annotated[int, Meta(ge=1, le=10_000)] = 1


class PartCredential(Struct):
    """Where one part is to be put, and with which headers."""

    url: str
    part_number: int
    headers: dict[str, str]


class UploadCreated(Struct):
    """An upload that waits for its parts."""

    upload_id: str
    credentials: list[PartCredential]


class UploadPart(Struct, omit_defaults=True):
    """One part that the store has, and the etag that it gave for it."""

    part_number: Annotated[int, Meta(ge=1, le=10_000)]
    etag: Text
    url: str = ""


class AbortUpload(Struct, omit_defaults=True):
    """An upload that is given up."""

    path: Text
    upload_id: Text


class CompleteUpload(AbortUpload, omit_defaults=True):
    """All parts of an upload, in the order of their numbers."""

    parts: Annotated[list[UploadPart], Meta(min_length=1)]


class PresignedDownload(Struct):
    """A URL to read one file from, by ranges too."""

    url: str
    headers: dict[str, str]
    file_size: int


class PresignedUrl(Struct, omit_defaults=True):
    """One file of a run or of a logged model, to be read or written for `expiration` seconds."""

    path: Text
    run_id: str = ""
    model_id: str = ""
    expiration: int | None = None
