"""What only the local directory can get wrong: links, modes, crashes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tiltyard import errors
from tiltyard.storage.local import UPLOADS, LocalStore

from .test_artifact_store import names, put, read


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


async def test_files_lie_where_their_paths_say(root: Path) -> None:
    """A person can find an artifact with `ls`."""
    await put(LocalStore(root), "1/run/artifacts/model/MLmodel", b"flavors:")
    assert (root / "1/run/artifacts/model/MLmodel").read_bytes() == b"flavors:"


async def test_directories_and_files_are_private(root: Path) -> None:
    """Everything is created for its owner alone, whatever the umask."""
    before = os.umask(0)
    try:
        await put(LocalStore(root), "a/b/c/d", b"1")
    finally:
        os.umask(before)
    modes = {path.relative_to(root).as_posix(): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert modes == {"a": 0o700, "a/b": 0o700, "a/b/c": 0o700, "a/b/c/d": 0o600, UPLOADS: 0o700}
    assert root.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("inside", [False, True])
async def test_links_are_refused(root: Path, tmp_path: Path, inside: bool) -> None:
    """No operation follows a link, be it out of the root or to another name below it."""
    store = LocalStore(root)
    target = root / "real" if inside else tmp_path / "outside"
    target.mkdir()
    (target / "secret").write_bytes(b"s")
    (root / "link").symlink_to(target)
    (root / "file").symlink_to(target / "secret")
    for path in ("link/secret", "file", "link"):
        with pytest.raises(errors.InvalidParameterValue):
            await read(store, path)
        with pytest.raises(errors.InvalidParameterValue):
            await put(store, path, b"x")
        with pytest.raises(errors.InvalidParameterValue):
            await store.delete(path)
    assert "link/" not in await names(store, "")
    assert (target / "secret").read_bytes() == b"s"


@pytest.mark.parametrize("path", [UPLOADS, f"{UPLOADS}/x", f"./{UPLOADS}/x"])
async def test_the_hidden_directory_is_not_an_artifact(root: Path, path: str) -> None:
    """Uploads in progress can neither be read nor written through their hidden names."""
    store = LocalStore(root)
    (root / UPLOADS / "x").write_bytes(b"half")
    with pytest.raises(errors.InvalidParameterValue):
        await read(store, path)
    with pytest.raises(errors.InvalidParameterValue):
        await put(store, path, b"1")
    assert await names(store, "", recursive=True) == []


async def test_a_file_and_a_directory_cannot_share_a_path(root: Path) -> None:
    """An upload below a file, or over a directory, is the caller's mistake."""
    store = LocalStore(root)
    await put(store, "a/b", b"1")
    for path in ("a/b/c", "a"):
        with pytest.raises(errors.InvalidParameterValue):
            await put(store, path, b"2")
    with pytest.raises(errors.InvalidParameterValue):
        await read(store, "a")
    assert await names(store, "", recursive=True) == ["a/b"]
    assert list((root / UPLOADS).iterdir()) == []


async def test_a_name_too_long_for_the_file_system_is_refused(root: Path) -> None:
    """The file system's limit is a 400 and not a fault."""
    with pytest.raises(errors.InvalidParameterValue):
        await put(LocalStore(root), "a" * 300, b"1")


async def test_deleting_prunes_empty_directories(root: Path) -> None:
    """A directory exists as long as a file lies below it, as in an object store."""
    store = LocalStore(root)
    await put(store, "a/b/c", b"1")
    await store.delete("a/b/c")
    assert await names(store, "") == []


async def test_names_that_are_no_text_are_not_listed(root: Path) -> None:
    """A file that somebody put there under bytes that are no UTF-8 does not break a listing."""
    store = LocalStore(root)
    await put(store, "d/good", b"1")
    (root / "d" / os.fsdecode(b"bad\xff")).write_bytes(b"1")
    assert await names(store, "d") == ["d/good"]


async def test_old_uploads_of_killed_processes_are_swept(root: Path) -> None:
    """The first upload to a store removes what another left behind a day ago; a running one stays."""
    LocalStore(root)
    old, fresh = root / UPLOADS / "old", root / UPLOADS / "fresh"
    old.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    store = LocalStore(root)
    assert {upload.upload_id: upload.size_bytes async for upload in store.list_uploads()} == {"old": 4, "fresh": 4}
    await put(store, "a", b"1")
    assert not old.exists()
    assert fresh.exists()


def test_kill_9_in_the_middle_of_an_upload_leaves_no_file(root: Path) -> None:
    """A process killed while it uploads leaves nothing that a listing shows."""
    script = (
        "import asyncio, sys, time\n"
        "from tiltyard.storage.local import LocalStore\n"
        "async def main():\n"
        f"    async with LocalStore({str(root)!r}).open_writer('a/b') as writer:\n"
        "        for _ in range(4): await writer.write(b'x' * (1 << 20))\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert [path for path in root.rglob("*") if path.is_file() and UPLOADS not in path.parts] == []
    assert not (root / "a").exists()


def test_a_root_on_another_host_is_refused() -> None:
    """`file://host/path` is not this machine's."""
    with pytest.raises(errors.InvalidParameterValue):
        LocalStore("file://host/share")


async def test_a_named_pipe_is_no_artifact(root: Path) -> None:
    """It is neither listed nor found nor opened, which would wait for whoever writes into it."""
    store = LocalStore(root)
    os.mkfifo(root / "pipe")
    await put(store, "file", b"1")
    assert await names(store, "") == ["file"]
    for ask in (read, LocalStore.head):
        with pytest.raises(errors.ResourceDoesNotExist):
            await ask(store, "pipe")
