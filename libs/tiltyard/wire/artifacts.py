"""Artifacts. Paths: /api/2.0/mlflow-artifacts/artifacts…, /api/2.0/mlflow/artifacts/list"""

from msgspec import Struct


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
