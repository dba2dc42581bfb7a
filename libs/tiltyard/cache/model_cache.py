"""Model files on this machine, by digest: fetched once per host, checked before anybody reads them.

models/<digest>/...     one verified model directory; it appears whole or not at all
partial/<digest>-…/     downloads in progress, or left by a killed process
locks/<digest>          held by the one process that fetches or checks; gone when it is done
locks/<digest>.use      held, shared, by every process that may be reading; touched when it is fetched again, gone with
                        the entry
trials/<digest>         how a load of it was tried here, and ended; gone with the entry

With a bound, what was not used for the longest goes when something new comes, and never what somebody reads.
"""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tiltyard.cache.cached_model import CachedModel
from tiltyard.cache.download import download, download_file, each
from tiltyard.cache.file_lock import lock_file, locked, remove_unheld
from tiltyard.cache.private_directory import DIRECTORY_VARIABLE, private_directory, private_root
from tiltyard.cache.verification import forget, holds, remember, untouched
from tiltyard.errors import InvalidParameterValue, ModelIntegrityError
from tiltyard.storage.manifest import Manifest, check_tree, digest_of
from tiltyard.storage.sources import Source

MAX_BYTES_VARIABLE = "TILTYARD_CACHE_MAX_BYTES"
STALE_PARTIAL_S = 7 * 24 * 3600.0


class ModelCache:
    """A directory of verified models, shared by all processes of one user.

    Its directories have mode 0700. A process that dies, also by kill -9, leaves nothing that another one would
    take for a model, and no lock.
    """

    def __init__(self, directory: Path | str | None = None, max_bytes: int | None = None) -> None:
        """`max_bytes` bounds what is kept: by default `TILTYARD_CACHE_MAX_BYTES`, else, and for 0, nothing does.

        Raises:
            InvalidParameterValue: the directory is another user's, or the variable holds no number.
        """
        self._max_bytes = _max_bytes_told() if max_bytes is None else max_bytes
        named = directory or os.environ.get(DIRECTORY_VARIABLE)
        self.root = private_root(Path(named) if named else Path.home() / ".cache" / "tiltyard")
        self._models = private_directory(self.root / "models")
        self._partial = private_directory(self.root / "partial")
        self._locks = private_directory(self.root / "locks")
        self._trials = private_directory(self.root / "trials")
        self._sweep()

    def fetch(self, manifest: Manifest, source: Source) -> CachedModel:
        """The directory that holds exactly the files of `manifest`, read from `source` if need be.

        Files are hashed once per process, and again when they were touched since. An entry that is not what it
        should be is dropped and fetched anew. It is there until it is released.

        Raises:
            ModelIntegrityError: the source's bytes are not those of the manifest; the message names the file.
            TransportError: the source broke off, several times.
        """
        if digest_of(manifest.files) != manifest.digest:
            raise ModelIntegrityError(f"The manifest of {manifest.digest} does not have that digest.")
        check_tree(file.path for file in manifest.files)
        with self._leased(manifest) as model:
            if not untouched(model.path, manifest):
                with self._whole(model.path, manifest) as missing:
                    if missing:
                        with self._partial_directory(model.path.name) as directory:
                            download(manifest.files, source, directory)
                            # Renaming last is what makes the entry whole for everybody else.
                            directory.rename(model.path)
                        remember(model.path, manifest)
                self._make_room()
        return model

    def fetch_unknown(self, source: Source) -> CachedModel:
        """The files of a source without a manifest, under the digest that they turn out to have.

        Nobody vouches for these bytes: the caller has decided to trust whoever wrote them.

        Raises:
            TransportError: the source broke off, several times.
        """
        listed = source.list_files()
        check_tree(path for path, _ in listed)
        with self._partial_directory(uuid.uuid4().hex) as directory:
            paths = [path for path, _ in listed]
            manifest = Manifest.of(each(lambda path: download_file(path, source, directory), paths))
            with self._leased(manifest) as model:
                with self._whole(model.path, manifest) as missing:
                    if missing:
                        directory.rename(model.path)
                        remember(model.path, manifest)
                self._make_room()
        return model

    def trial(self, digest: str) -> Path:
        """Where those who load an entry note for one another how that ended."""
        return self._trials / digest.removeprefix("sha256:")

    @contextmanager
    def trying(self, digest: str) -> Iterator[None]:
        """Holds off all others who would try to load an entry."""
        with locked(self._locks / f"{self.trial(digest).name}.trial"):
            yield

    @contextmanager
    def _whole(self, entry: Path, manifest: Manifest) -> Iterator[bool]:
        """Holds every other thread and process off one entry, and says whether it has to be made: one that is there
        and not right is dropped. The kernel lets go when the holder dies.
        """
        with locked(self._locks / entry.name):
            # Whoever holds the lock is alive, so these are of the dead.
            for left_over in self._partial.glob(f"{entry.name}-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            if entry.exists() and not holds(entry, manifest):
                self._discard(entry)
            yield not entry.exists()

    @contextmanager
    def _leased(self, manifest: Manifest) -> Iterator[CachedModel]:
        """A lease of the entry of a manifest, given back at once when the block fails."""
        entry = self._models / manifest.digest.removeprefix("sha256:")
        # Whoever removes an entry holds this alone, for as long as that takes: other entries do not wait for it.
        lease = lock_file(self._use_file(entry), shared=True)
        os.utime(lease)
        model = CachedModel(entry, manifest, lease)
        try:
            yield model
        except BaseException:
            model.release()
            raise

    def _use_file(self, entry: Path) -> Path:
        return self._locks / f"{entry.name}.use"

    def _make_room(self) -> None:
        """Removes the longest unused entries until the rest is within the bound, save those that are being read."""
        if not self._max_bytes:
            return
        sizes = {entry: _size_bytes(entry) for entry in self._models.iterdir()}
        total_bytes = sum(sizes.values())
        for entry in sorted(sizes, key=lambda entry: _used_s(self._use_file(entry))):
            if total_bytes <= self._max_bytes:
                return
            use_file = self._use_file(entry)
            try:
                file = lock_file(use_file, wait=False)
            except BlockingIOError:
                # It is being read.
                continue
            try:
                with suppress(FileNotFoundError):
                    # Unless somebody else has just removed it.
                    self._discard(entry)
                use_file.unlink(missing_ok=True)
                self.trial(entry.name).unlink(missing_ok=True)
                forget(entry)
                total_bytes -= sizes[entry]
            finally:
                os.close(file)

    @contextmanager
    def _partial_directory(self, name: str) -> Iterator[Path]:
        directory = self._partial / f"{name}-{uuid.uuid4().hex}"
        directory.mkdir(mode=0o700)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _sweep(self) -> None:
        """Removes what processes killed long ago were fetching, and locks and notes of what is not there any more."""
        oldest = time.time() - STALE_PARTIAL_S
        for left_over in self._partial.iterdir():
            with suppress(FileNotFoundError):
                if left_over.lstat().st_mtime < oldest:
                    shutil.rmtree(left_over, ignore_errors=True)
        for lock in self._locks.iterdir():
            with suppress(FileNotFoundError):
                if lock.lstat().st_mtime < oldest and not (self._models / lock.stem).exists():
                    remove_unheld(lock)
        for trial in self._trials.iterdir():
            with suppress(FileNotFoundError):
                if trial.lstat().st_mtime < oldest and not (self._models / trial.name).exists():
                    trial.unlink()

    def _discard(self, entry: Path) -> None:
        trash = self._partial / f"{entry.name}-{uuid.uuid4().hex}"
        entry.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def _max_bytes_told() -> int:
    told = os.environ.get(MAX_BYTES_VARIABLE) or "0"
    if not (told.isascii() and told.isdigit()):
        raise InvalidParameterValue(f"{MAX_BYTES_VARIABLE} must be a number of bytes, got '{told[:40]}'.")
    return int(told)


def _size_bytes(entry: Path) -> int:
    size_bytes = 0
    for folder, _, names in os.walk(entry):
        for name in names:
            with suppress(FileNotFoundError):
                size_bytes += Path(folder, name).lstat().st_size
    return size_bytes


def _used_s(use_file: Path) -> float:
    try:
        return use_file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
