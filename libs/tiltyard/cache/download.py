"""Files of a model brought from where they lie, in parallel, and hashed as they come."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tiltyard.errors import ModelIntegrityError, TransportError
from tiltyard.storage.manifest import ManifestFile
from tiltyard.storage.sources import Source
from tiltyard.uri import contain

MAX_PARALLEL = 8
FILE_TRIES = 3

T = TypeVar("T")
R = TypeVar("R")


def download(files: Iterable[ManifestFile], source: Source, directory: Path) -> None:
    """Brings files into a directory, several at once, each checked as it comes.

    Raises:
        ModelIntegrityError: one is not what the manifest says.
        TransportError: the source broke off again and again.
    """

    def fetch(file: ManifestFile) -> None:
        came = download_file(file.path, source, directory, limit_bytes=file.size_bytes)
        if came != file:
            raise ModelIntegrityError(
                f"File '{file.path}' is not what was registered: expected {file.size_bytes} bytes of SHA-256 "
                f"{file.sha256}, got {came.size_bytes} bytes of {came.sha256}."
            )

    # The largest first, so that none of them is left alone at the end.
    each(fetch, sorted(files, key=lambda file: -file.size_bytes))


def download_file(path: str, source: Source, directory: Path, *, limit_bytes: int | None = None) -> ManifestFile:
    """One file as it came. A source that gives more than `limit_bytes` is not read to its end."""
    target = contain(directory, path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    attempt = 1
    while True:
        size_bytes, hashed = 0, hashlib.sha256()
        try:
            with target.open("wb") as file:
                for chunk in source.read(path):
                    size_bytes += len(chunk)
                    hashed.update(chunk)
                    file.write(chunk)
                    if limit_bytes is not None and size_bytes > limit_bytes:
                        break
            return ManifestFile(path, size_bytes, hashed.hexdigest())
        except TransportError:
            if attempt == FILE_TRIES:
                raise
            attempt += 1


def each(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What `work` gives for each item, in their order, done in parallel; the first failure ends it."""
    with ThreadPoolExecutor(max_workers=max(1, min(MAX_PARALLEL, len(items)))) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
