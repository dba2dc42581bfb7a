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
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tiltyard.cache.download import download, download_file, each
from tiltyard.cache.file_lock import lock_file, locked, remove_unheld
from tiltyard.cache.private_directory import DIRECTORY_VARIABLE, private_directory, private_root
from tiltyard.cache.verification import forget, holds, remember, untouched
from tiltyard.errors import InvalidParameterValue, ModelIntegrityError
from tiltyard.storage.manifest import Manifest, check_tree, digest_of
from tiltyard.storage.sources import Source

MAX_BYTES_VARIABLE = "TILTYARD_CACHE_MAX_BYTES"
STALE_PARTIAL_S = 7 * 24 * 3600.0


class _Lease:
    """The shared lock on one entry, and how many fetches of this process it stands for."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.count = 0


_leases: dict[Path, _Lease] = {}
_leases_lock = threading.Lock()


def release(entry: Path) -> None:
    """Says that what one `fetch` gave is not read any more; until then, or this process's end, it stays.

    A path that no cache gave is nobody's business.
    """
    with _leases_lock:
        lease = _leases.get(entry)
        if lease is None:
            return
        lease.count -= 1
        if not lease.count:
            del _leases[entry]
            os.close(lease.file)


def _hold(entry: Path, file: int | None) -> bool:
    """Counts one lease, held by `file` if it is the first; False if it is the first and there is no file."""
    with _leases_lock:
        lease = _leases.get(entry)
        if lease is None:
            if file is None:
                return False
            lease = _leases[entry] = _Lease(file)
        elif file is not None:
            os.close(file)
        lease.count += 1
        os.utime(lease.file)
    return True


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

    def fetch(self, manifest: Manifest, source: Source) -> Path:
        """The directory that holds exactly the files of `manifest`, read from `source` if need be.

        Files are hashed once per process, and again when they were touched since. An entry that is not what it
        should be is dropped and fetched anew. It is this process's to read until it is told to `release` it.

        Raises:
            ModelIntegrityError: the source's bytes are not those of the manifest; the message names the file.
            TransportError: the source broke off, several times.
        """
        if digest_of(manifest.files) != manifest.digest:
            raise ModelIntegrityError(f"The manifest of {manifest.digest} does not have that digest.")
        check_tree(file.path for file in manifest.files)
        name = manifest.digest.removeprefix("sha256:")
        entry = self._models / name
        with self._leased(entry):
            if untouched(entry, manifest):
                return entry
            with self._locked(name):
                if entry.exists() and not holds(entry, manifest):
                    self._discard(entry)
                if not entry.exists():
                    with self._partial_directory(name) as directory:
                        download(manifest.files, source, directory)
                        # Renaming last is what makes the entry whole for everybody else.
                        directory.rename(entry)
                    remember(entry, manifest)
            self._make_room()
        return entry

    def fetch_unknown(self, source: Source) -> tuple[Manifest, Path]:
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
            name = manifest.digest.removeprefix("sha256:")
            entry = self._models / name
            with self._leased(entry):
                with self._locked(name):
                    if entry.exists() and not holds(entry, manifest):
                        self._discard(entry)
                    if not entry.exists():
                        directory.rename(entry)
                        remember(entry, manifest)
                self._make_room()
        return manifest, entry

    def trial(self, digest: str) -> Path:
        """Where those who load an entry note for one another how that ended."""
        return self._trials / digest.removeprefix("sha256:")

    @contextmanager
    def trying(self, digest: str) -> Iterator[None]:
        """Holds off all others who would try to load an entry."""
        with locked(self._locks / f"{self.trial(digest).name}.trial"):
            yield

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Holds every other thread and process off one entry. The kernel lets go when the holder dies."""
        with locked(self._locks / name):
            # Whoever holds the lock is alive, so these are of the dead.
            for left_over in self._partial.glob(f"{name}-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            yield

    @contextmanager
    def _leased(self, entry: Path) -> Iterator[None]:
        """Takes a lease of the entry, given back at once when the block fails, else when it is released."""
        # Whoever removes an entry holds this alone, for as long as that takes: other entries do not wait for it.
        file = None if entry in _leases else lock_file(self._use_file(entry), shared=True)
        while not _hold(entry, file):
            file = lock_file(self._use_file(entry), shared=True)
        try:
            yield
        except BaseException:
            release(entry)
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
