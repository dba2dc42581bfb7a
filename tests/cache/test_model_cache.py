"""The verified cache: one download per host, nothing unverified, whatever dies or races."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard import errors
from tiltyard.cache import verification
from tiltyard.cache.cached_model import CachedModel
from tiltyard.cache.file_lock import lock_file, locked
from tiltyard.cache.model_cache import ModelCache
from tiltyard.storage.manifest import Manifest, ManifestFile, digest_of
from tiltyard.storage.sources import DirectorySource

FILES = {"MLmodel": b"flavors: {}\n", "data/model.pkl": b"\x80" * 300_000, "empty": b""}


class CountingSource(DirectorySource):
    """A directory that notes each read in a file, so that reads of all processes can be counted."""

    def __init__(self, root: Path, log: Path, delay_s: float = 0.0) -> None:
        super().__init__(root)
        self._log = log
        self._delay_s = delay_s

    def read(self, path: str) -> Iterator[bytes]:
        with self._log.open("a") as log:
            log.write(f"{path}\n")
        time.sleep(self._delay_s)
        yield from super().read(path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory as it was registered."""
    root = tmp_path / "model"
    for path, body in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
    return root


@pytest.fixture
def manifest(model: Path) -> Manifest:
    return Manifest.of_source(DirectorySource(model))


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "cache")


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def forget_what_this_process_saw(cache: ModelCache) -> None:
    """Stands for a new process, which has hashed nothing yet."""
    for entry in (cache.root / "models").rglob("*"):
        verification.forget(entry)


def test_what_is_fetched_is_what_was_registered(cache: ModelCache, model: Path, manifest: Manifest) -> None:
    """The directory holds exactly the manifest's files, and is private."""
    directory = cache.fetch(manifest, DirectorySource(model)).path
    assert contents(directory) == FILES
    assert directory.name == manifest.digest.removeprefix("sha256:")
    for path in (directory, directory.parent, directory / "data"):
        assert path.stat().st_mode & 0o077 == 0
    assert list((cache.root / "partial").iterdir()) == []


def test_a_second_fetch_reads_nothing(cache: ModelCache, model: Path, manifest: Manifest, tmp_path: Path) -> None:
    """Neither this process nor the next one asks the source again."""
    log = tmp_path / "log"
    source = CountingSource(model, log)
    cache.fetch(manifest, source)
    cache.fetch(manifest, source)
    forget_what_this_process_saw(cache)
    cache.fetch(manifest, source)
    assert sorted(log.read_text().split()) == sorted(FILES)


@pytest.mark.parametrize("new_process", [True, False])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "grow", "link", "swap"])
def test_a_damaged_entry_is_dropped_and_fetched_again(
    cache: ModelCache, model: Path, manifest: Manifest, tmp_path: Path, damage: str, new_process: bool
) -> None:
    """Any change to a cached file is found on the next open, in the same process or another."""
    source = DirectorySource(model)
    file = cache.fetch(manifest, source) / "data/model.pkl"
    before = file.stat()
    match damage:
        case "flip":
            body = bytearray(file.read_bytes())
            body[1000] ^= 1
            file.write_bytes(body)
            # As an attacker would, the times are set back.
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "truncate":
            file.write_bytes(b"")
        case "remove":
            file.unlink()
        case "grow":
            with file.open("ab") as grown:
                grown.write(b"x")
        case "link":
            evil = tmp_path / "evil"
            evil.write_bytes(file.read_bytes())
            file.unlink()
            file.symlink_to(evil)
        case "swap":
            file.rename(file.with_name("old"))
            file.write_bytes(b"\x81" * 300_000)
    if new_process:
        forget_what_this_process_saw(cache)
    assert contents(cache.fetch(manifest, source).path) == FILES
    assert not file.is_symlink()


def test_a_planted_file_is_removed(cache: ModelCache, model: Path, manifest: Manifest, tmp_path: Path) -> None:
    """What is not in the manifest does not stay beside what is."""
    directory = cache.fetch(manifest, DirectorySource(model)).path
    (directory / "evil.py").write_text("import os")
    (directory / "data" / "sub").mkdir()
    (directory / "data" / "sub" / "evil.pyc").write_bytes(b"1")
    (directory / "linked").symlink_to(tmp_path)
    forget_what_this_process_saw(cache)
    assert contents(cache.fetch(manifest, DirectorySource(model)).path) == FILES
    assert not (directory / "linked").exists()


@pytest.mark.parametrize("path", FILES)
def test_a_corrupt_source_is_refused_by_name(cache: ModelCache, model: Path, manifest: Manifest, path: str) -> None:
    """A flipped or added byte in any stored file is an integrity error that names the file; nothing is kept."""
    body = bytearray((model / path).read_bytes() or b"added")
    body[-1] ^= 1
    (model / path).write_bytes(body)
    with pytest.raises(errors.ModelIntegrityError, match=path):
        cache.fetch(manifest, DirectorySource(model))
    assert list((cache.root / "models").iterdir()) == []
    assert list((cache.root / "partial").iterdir()) == []


def test_a_source_that_never_ends_is_cut_off(cache: ModelCache, manifest: Manifest) -> None:
    """A source that gives more than was registered cannot fill the disk."""

    class Endless:
        def list_files(self) -> list[tuple[str, int | None]]:
            return []

        def read(self, path: str) -> Iterator[bytes]:
            while True:
                yield b"x" * 100_000

    with pytest.raises(errors.ModelIntegrityError):
        cache.fetch(manifest, Endless())


def test_a_manifest_that_lies_about_its_digest_is_refused(cache: ModelCache, model: Path, manifest: Manifest) -> None:
    """The digest is computed, never believed."""
    lie = Manifest("sha256:" + "0" * 64, manifest.size_bytes, manifest.files)
    with pytest.raises(errors.ModelIntegrityError):
        cache.fetch(lie, DirectorySource(model))


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\..\\evil", ""])
def test_a_manifest_cannot_name_a_path_outside(cache: ModelCache, model: Path, tmp_path: Path, path: str) -> None:
    """A server cannot make a client write outside the model's directory."""
    files = (ManifestFile(path, 1, hashlib.sha256(b"x").hexdigest()),)
    with pytest.raises(errors.InvalidParameterValue):
        cache.fetch(Manifest(digest_of(files), 1, files), DirectorySource(model))
    assert not list(tmp_path.rglob("*evil*"))


def test_a_broken_connection_is_tried_again(cache: ModelCache, model: Path, manifest: Manifest) -> None:
    """A file whose transfer breaks is fetched again from its start, a bounded number of times."""

    class Breaking(DirectorySource):
        failures = 2

        def read(self, path: str) -> Iterator[bytes]:
            if path == "data/model.pkl" and self.failures:
                self.failures -= 1
                yield b"\x80" * 1000
                raise errors.TransportError("broken off")
            yield from super().read(path)

    source = Breaking(model)
    assert contents(cache.fetch(manifest, source).path) == FILES
    forget_what_this_process_saw(cache)
    cache_of_another_host = ModelCache(cache.root / "other")
    source.failures = 99
    with pytest.raises(errors.TransportError):
        cache_of_another_host.fetch(manifest, source)
    assert list((cache_of_another_host.root / "partial").iterdir()) == []


def test_files_without_a_manifest_get_the_digest_they_have(cache: ModelCache, model: Path, manifest: Manifest) -> None:
    """What nobody vouches for is stored under its own digest, as if it had been registered."""
    found, again = (cache.fetch_unknown(DirectorySource(model)) for _ in range(2))
    assert found.manifest == again.manifest == manifest
    assert contents(found.path) == FILES
    assert again.path == found.path


def test_the_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that somebody else could write is not used."""
    ModelCache(tmp_path / "cache")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(errors.InvalidParameterValue, match="TILTYARD_CACHE_DIR"):
        ModelCache(tmp_path / "cache")


def test_the_directory_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`TILTYARD_CACHE_DIR` names it, else it lies in the user's home."""
    monkeypatch.setenv("TILTYARD_CACHE_DIR", str(tmp_path / "named"))
    assert ModelCache().root == tmp_path / "named"
    monkeypatch.delenv("TILTYARD_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert ModelCache().root == tmp_path / "home" / ".cache" / "tiltyard"


def _fetch(root: Path, model: Path, log: Path) -> None:
    source = CountingSource(model, log, delay_s=0.2)
    manifest = Manifest.of_source(DirectorySource(model))
    assert contents(ModelCache(root).fetch(manifest, source).path) == FILES


def test_processes_and_threads_that_start_together_download_once(model: Path, tmp_path: Path) -> None:
    """Four processes of three threads each make one download."""
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_race, args=(tmp_path / "cache", model, log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(log.read_text().split()) == sorted(FILES)


def _race(root: Path, model: Path, log: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            _fetch(root, model, log)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_kill_9_during_a_download_harms_nobody(
    cache: ModelCache, model: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """A killed downloader leaves no entry and no lock; the next one succeeds and clears up after it."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tiltyard.cache.model_cache import ModelCache\n"
        "from tiltyard.storage.manifest import Manifest\n"
        "from tiltyard.storage.sources import DirectorySource\n"
        "class Slow(DirectorySource):\n"
        "    def read(self, path):\n"
        "        yield b'half'\n"
        "        if path == 'MLmodel': print('reading', flush=True)\n"
        "        time.sleep(60)\n"
        f"model = Path({str(model)!r})\n"
        f"ModelCache({str(cache.root)!r}).fetch(Manifest.of_source(DirectorySource(model)), Slow(model))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert line == b"reading\n"
    assert list((cache.root / "models").iterdir()) == []
    assert len(list((cache.root / "partial").iterdir())) == 1
    assert contents(cache.fetch(manifest, DirectorySource(model)).path) == FILES
    assert list((cache.root / "partial").iterdir()) == []


PATHS = st.lists(st.sampled_from(["a", "b", "c.txt", "é", "z"]), min_size=1, max_size=3).map("/".join)
ENTRIES = st.dictionaries(PATHS, st.binary(max_size=20), min_size=1, max_size=6)


@given(entries=ENTRIES, order=st.randoms())
def test_the_digest_depends_on_every_byte_and_not_on_the_order(entries: dict[str, bytes], order: object) -> None:
    """The same files give the same digest in any order; another path, size or hash gives another one."""
    files = [ManifestFile(path, len(body), hashlib.sha256(body).hexdigest()) for path, body in entries.items()]
    shuffled = list(files)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    digest = digest_of(files)
    assert digest_of(shuffled) == digest
    text = "".join(
        f"{hashlib.sha256(body).hexdigest()}  {len(body)}  {path}\n"
        for path, body in sorted(entries.items(), key=lambda item: item[0].encode())
    )
    assert digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    first = files[0]
    for changed in (
        ManifestFile(first.path + "x", first.size_bytes, first.sha256),
        ManifestFile(first.path, first.size_bytes + 1, first.sha256),
        ManifestFile(first.path, first.size_bytes, first.sha256[::-1]),
    ):
        if changed != first:
            assert digest_of([changed, *files[1:]]) != digest


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a", "a"), ("a/b/c", "a/b")])
def test_a_manifest_is_a_tree(paths: tuple[str, ...]) -> None:
    """A path that comes twice, or is a file and a directory at once, is refused."""
    with pytest.raises(errors.InvalidParameterValue):
        Manifest.of(ManifestFile(path, 0, "0" * 64) for path in paths)


def other_model(root: Path, number: int) -> Manifest:
    """The manifest of a model of about 100 kB that differs from the others, saved below `root`."""
    folder = root / f"model-{number}"
    folder.mkdir()
    (folder / "MLmodel").write_bytes(number.to_bytes(2, "big") * 50_000)
    return Manifest.of_source(DirectorySource(folder))


def test_the_longest_unused_go_and_never_what_is_read(tmp_path: Path) -> None:
    """With a bound the cache keeps what was used last, and whatever this or another process may be reading.

    What was noted of a load of an entry goes with it.
    """
    cache = ModelCache(tmp_path / "cache", max_bytes=350_000)
    manifests = [other_model(tmp_path, number) for number in range(6)]

    def fetch(number: int) -> CachedModel:
        return cache.fetch(manifests[number], DirectorySource(tmp_path / f"model-{number}"))

    read_here = fetch(0)
    read_there = fetch(1)
    reader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from tiltyard.cache.model_cache import ModelCache; "
            "from tiltyard.storage.manifest import Manifest; from tiltyard.storage.sources import DirectorySource; "
            f"source = DirectorySource(Path({str(tmp_path / 'model-1')!r})); "
            f"read = ModelCache({str(tmp_path / 'cache')!r}).fetch(Manifest.of_source(source), source); "
            "print('reading', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    read_there.release()
    for number in (2, 3, 4):
        cache.trial(manifests[number].digest).touch()
        fetch(number).release()
    assert [cache.trial(manifests[number].digest).exists() for number in (2, 3, 4)] == [False, False, True]
    kept = {path.name for path in (tmp_path / "cache/models").iterdir()}
    assert kept == {manifests[number].digest.removeprefix("sha256:") for number in (0, 1, 4)}
    assert (read_here / "MLmodel").is_file()

    reader.kill()
    reader.communicate()
    fetch(5).release()
    assert not read_there.path.exists()
    with fetch(1) as again:
        assert again.path == read_there.path
        assert (again / "MLmodel").stat().st_size == 100_000


def test_what_two_fetches_gave_is_kept_until_both_are_released(tmp_path: Path) -> None:
    """A lease stands for each fetch; without one, and without a bound, nothing goes. One that is lost is released."""
    manifest, newer = other_model(tmp_path, 0), other_model(tmp_path, 1)
    source, newer_source = (DirectorySource(tmp_path / f"model-{number}") for number in (0, 1))
    bounded = ModelCache(tmp_path / "cache", max_bytes=1)
    first, second = (bounded.fetch(manifest, source) for _ in range(2))
    entry = first.path
    for _ in range(2):
        first.release()
        bounded.fetch(newer, newer_source).release()
        assert entry.exists()
    del second
    ModelCache(tmp_path / "cache").fetch(newer, newer_source).release()
    assert entry.exists()
    with bounded.fetch(other_model(tmp_path, 2), DirectorySource(tmp_path / "model-2")):
        assert not entry.exists()


def test_a_bound_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's value is named."""
    monkeypatch.setenv("TILTYARD_CACHE_MAX_BYTES", "much")
    with pytest.raises(errors.InvalidParameterValue, match="TILTYARD_CACHE_MAX_BYTES must be a number of bytes"):
        ModelCache(tmp_path)


def test_a_planted_link_is_neither_swept_nor_changed(tmp_path: Path) -> None:
    """A link in the place of a directory of the cache is refused, and what it leads to stays as it was."""
    victim, root = tmp_path / "victim", tmp_path / "cache"
    (victim / "old").mkdir(parents=True)
    victim.chmod(0o755)
    os.utime(victim / "old", (0, 0))
    root.mkdir()
    for name in ("models", "partial", "locks"):
        (root / name).symlink_to(victim)
        with pytest.raises(errors.InvalidParameterValue, match="is a link"):
            ModelCache(root)
        (root / name).unlink()
    assert (victim / "old").is_dir()
    assert victim.stat().st_mode & 0o777 == 0o755


def test_others_cannot_write_into_the_cache(tmp_path: Path) -> None:
    """A cache directory that others could write into is closed to them; one's own link to another disk is followed."""
    disk, root = tmp_path / "disk", tmp_path / "cache"
    disk.mkdir()
    disk.chmod(0o777)
    root.symlink_to(disk)
    ModelCache(root)
    assert disk.stat().st_mode & 0o022 == 0
    assert (disk / "models").stat().st_mode & 0o777 == 0o700


def test_no_lock_file_stays_for_good(tmp_path: Path) -> None:
    """Locks go with the download, and what says that an entry is in use goes with the entry."""
    cache = ModelCache(tmp_path / "cache", max_bytes=1)
    for number in range(4):
        manifest = other_model(tmp_path, number)
        cache.fetch(manifest, DirectorySource(tmp_path / f"model-{number}")).release()
    left = {path.name for path in (tmp_path / "cache" / "locks").iterdir()}
    assert len(left) == 1
    assert left == {f"{path.name}.use" for path in (tmp_path / "cache" / "models").iterdir()}
    for name in ("gone.use", "gone"):
        (tmp_path / "cache" / "locks" / name).touch()
        os.utime(tmp_path / "cache" / "locks" / name, (0, 0))
    ModelCache(tmp_path / "cache")
    assert {path.name for path in (tmp_path / "cache" / "locks").iterdir()} == left


def test_a_lock_that_was_removed_is_not_held_twice(tmp_path: Path) -> None:
    """Who waited for a lock file that its holder removed gets the lock on the one that took its place."""
    path, order = tmp_path / "lock", []

    def work(number: int) -> None:
        with locked(path):
            order.append(("begin", number))
            order.append(("end", number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    with locked(path):
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    assert [order[at][1] for at in range(0, 16, 2)] == [order[at][1] for at in range(1, 16, 2)]
    assert not path.exists()


def test_an_entry_that_is_being_removed_holds_up_no_other(
    cache: ModelCache, model: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """While one entry waits for whoever removes it, others are fetched and released."""
    other = other_model(tmp_path, 1)
    name = manifest.digest.removeprefix("sha256:")
    removing = lock_file(cache.root / "locks" / f"{name}.use")
    waiting = threading.Thread(target=lambda: cache.fetch(manifest, DirectorySource(model)).release())
    waiting.start()
    cache.fetch(other, DirectorySource(tmp_path / "model-1")).release()
    assert waiting.is_alive()
    os.close(removing)
    waiting.join()
