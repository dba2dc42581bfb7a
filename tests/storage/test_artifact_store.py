"""The behaviour of every artifact store, stated once."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiltyard import errors
from tiltyard.storage import SCHEMES, ArtifactStore, open_store
from tiltyard.storage.artifact_store import CHUNK_BYTES, Entry

MIB = 1 << 20


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """An empty store of each kind."""
    if request.param == "local":
        return open_store((tmp_path / "artifacts").as_uri())
    if request.param == "memory":
        return open_store(f"memory://{tmp_path.name}")
    return open_store(request.getfixturevalue("s3_uri") + "/some/prefix")


async def put(store: ArtifactStore, path: str, data: bytes, chunk_bytes: int = 64 * 1024) -> Entry:
    async with store.open_writer(path) as writer:
        for offset in range(0, len(data), chunk_bytes):
            await writer.write(data[offset : offset + chunk_bytes])
        return await writer.commit()


async def read(store: ArtifactStore, path: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.get(path, start, end)])


async def names(store: ArtifactStore, prefix: str, *, recursive: bool = False) -> list[str]:
    return [entry.path + "/" * entry.is_dir async for entry in store.list(prefix, recursive=recursive)]


def pattern(size_bytes: int) -> bytes:
    return (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, MIB + 1, 8 * MIB, 17 * MIB + 3])
async def test_what_was_committed_is_read_back(store: ArtifactStore, size_bytes: int) -> None:
    """Every size around the chunk and part limits comes back byte for byte, in chunks of at most 1 MiB."""
    data = pattern(size_bytes)
    entry = await put(store, "1/run/artifacts/model/data.bin", data)
    assert (entry.path, entry.size_bytes, entry.is_dir) == (
        "1/run/artifacts/model/data.bin",
        size_bytes,
        False,
    )
    chunks = [chunk async for chunk in store.get("1/run/artifacts/model/data.bin")]
    assert b"".join(chunks) == data
    assert max(map(len, chunks), default=0) <= CHUNK_BYTES
    assert await store.head("1/run/artifacts/model/data.bin") == entry


@pytest.mark.parametrize(
    ("start", "end"), [(0, 10), (5, 6), (0, None), (100, None), (2 * MIB - 1, 10**12), (7, 7), (10**9, None)]
)
async def test_a_range_is_a_slice(store: ArtifactStore, start: int, end: int | None) -> None:
    """`get` with a start and an end gives what slicing the bytes gives."""
    data = pattern(2 * MIB)
    await put(store, "f.bin", data)
    assert await read(store, "f.bin", start, end) == data[start:end]


@pytest.mark.parametrize("size_bytes", [10, 30 * MIB])
async def test_an_upload_without_commit_leaves_nothing(store: ArtifactStore, size_bytes: int) -> None:
    """Leaving the writer without commit discards the bytes, and the file never shows up."""
    with pytest.raises(RuntimeError, match="cut"):
        async with store.open_writer("a/b.bin") as writer:
            for _ in range(max(1, size_bytes // MIB)):
                await writer.write(b"x" * min(size_bytes, MIB))
            assert await names(store, "", recursive=True) == []
            raise RuntimeError("cut")
    assert await names(store, "", recursive=True) == []
    assert await names(store, "") == []


async def test_a_cancelled_upload_leaves_nothing(store: ArtifactStore) -> None:
    """Cancelling the task that uploads has the same end as a cut connection."""
    started = asyncio.Event()

    async def upload() -> None:
        async with store.open_writer("a/b.bin") as writer:
            for _ in range(12):
                await writer.write(b"x" * MIB)
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(upload())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(store, "", recursive=True) == []


async def test_a_cancelled_commit_is_over_when_its_caller_hears_of_it(store: ArtifactStore) -> None:
    """Once the cancellation is through, the file is there whole or will never be: nothing happens later."""
    for turns in (1, 2, 5, 20):
        await store.delete("a")

        async def upload() -> None:
            async with store.open_writer("a/b.bin") as writer:
                await writer.write(b"x" * 100_000)
                await writer.commit()

        task = asyncio.create_task(upload())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        after = await names(store, "", recursive=True)
        # Comes after whatever was left to the store's threads, and to its server.
        await put(store, "b", b"1")
        await store.delete("b")
        assert await names(store, "", recursive=True) == after
        if after:
            assert await read(store, "a/b.bin") == b"x" * 100_000


async def test_overwriting_changes_the_etag_and_is_all_at_once(store: ArtifactStore) -> None:
    """A second upload replaces the first whole, and a reader that names the old etag is told."""
    first = await put(store, "f", b"one")
    second = await put(store, "f", b"twotwo")
    assert first.etag != second.etag
    assert await read(store, "f") == b"twotwo"
    with pytest.raises(errors.ResourceConflict):
        async for _ in store.get("f", etag=first.etag):
            pass
    assert b"".join([chunk async for chunk in store.get("f", etag=second.etag)]) == b"twotwo"


async def test_listing(store: ArtifactStore) -> None:
    """A listing shows one level sorted, or all files; a file and a missing path list as nothing."""
    for path in ("m/MLmodel", "m/data/b", "m/data/a", "mm/x", "z"):
        await put(store, path, b"1")
    assert await names(store, "") == ["m/", "mm/", "z"]
    assert await names(store, "m") == ["m/MLmodel", "m/data/"]
    assert sorted(await names(store, "m", recursive=True)) == ["m/MLmodel", "m/data/a", "m/data/b"]
    assert await names(store, "m/MLmodel") == []
    assert await names(store, "m/MLmodel", recursive=True) == []
    assert await names(store, "nothing/here") == []
    assert (await store.head("m/data")).is_dir
    assert (await store.head("")).is_dir


async def test_delete_takes_a_file_or_a_tree(store: ArtifactStore) -> None:
    """Delete removes the file or everything below the prefix, nothing beside it, and may be repeated."""
    for path in ("m/a", "m/d/b", "m/d/c", "md/x"):
        await put(store, path, b"1")
    await store.delete("m/d")
    assert sorted(await names(store, "", recursive=True)) == ["m/a", "md/x"]
    await store.delete("m/a")
    await store.delete("m/a")
    await store.delete("never/was")
    assert await names(store, "") == ["md/"]
    with pytest.raises(errors.InvalidParameterValue):
        await store.delete("")


async def test_missing_files(store: ArtifactStore) -> None:
    """Reading or asking for what is not there says so."""
    with pytest.raises(errors.ResourceDoesNotExist):
        await read(store, "no/such")
    with pytest.raises(errors.ResourceDoesNotExist):
        await store.head("no/such")


@pytest.mark.parametrize("name", ["with space", "ünï-✓", "per%cent", "semi;colon&amp=+", "~tilde*[x]", "a" * 200])
async def test_unusual_names_survive(store: ArtifactStore, name: str) -> None:
    """Names with spaces, other scripts and marks are stored, listed and read as they are."""
    await put(store, f"d/{name}", b"hello")
    assert await names(store, "d") == [f"d/{name}"]
    assert await read(store, f"d/{name}") == b"hello"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "%2e%2e/x", "a\\..\\b", "a\x00b", "c:/x", ".."])
async def test_unsafe_paths_are_refused_by_every_operation(store: ArtifactStore, path: str) -> None:
    """No operation takes a path that could leave the root."""
    with pytest.raises(errors.InvalidParameterValue):
        await put(store, path, b"1")
    with pytest.raises(errors.InvalidParameterValue):
        await read(store, path)
    with pytest.raises(errors.InvalidParameterValue):
        await names(store, path)
    with pytest.raises(errors.InvalidParameterValue):
        await store.head(path)
    with pytest.raises(errors.InvalidParameterValue):
        await store.delete(path)


async def test_parallel_uploads_do_not_mix(store: ArtifactStore) -> None:
    """Uploads running at once, some to one path, each end whole."""
    blobs = {f"p/{number}": bytes([number]) * (3 * MIB + number) for number in range(6)}
    await asyncio.gather(*(put(store, path, data) for path, data in blobs.items()))
    for path, data in blobs.items():
        assert await read(store, path) == data
    await asyncio.gather(*(put(store, "same", bytes([number]) * MIB) for number in range(6)))
    content = await read(store, "same")
    assert len(content) == MIB
    assert len(set(content)) == 1


def test_every_scheme_has_its_module() -> None:
    """Each row of the table names a class that can be imported, and other schemes are refused."""
    from importlib import import_module

    for target in SCHEMES.values():
        module, _, name = target.partition(":")
        assert hasattr(import_module(module), name)
    with pytest.raises(errors.InvalidParameterValue, match="ftp"):
        open_store("ftp://host/x")


async def test_aborted_multipart_uploads_leave_no_parts(s3_uri: str, s3_environment: dict[str, str]) -> None:
    """Parts of an upload that was given up do not stay in the bucket, where they would cost money."""
    import boto3

    store = open_store(s3_uri)
    with pytest.raises(RuntimeError):
        async with store.open_writer("big") as writer:
            for _ in range(20):
                await writer.write(b"x" * MIB)
            raise RuntimeError
    uploads = boto3.client("s3").list_multipart_uploads(Bucket=s3_uri.removeprefix("s3://"))
    assert uploads.get("Uploads", []) == []


async def test_objects_carry_an_opaque_content_type(s3_uri: str, s3_environment: dict[str, str]) -> None:
    """No object is stored with a type that a browser or a proxy would interpret."""
    import boto3

    store = open_store(s3_uri)
    await put(store, "small", b"a=1&b=2")
    await put(store, "big", b"x" * 9 * MIB)
    for key in ("small", "big"):
        head = boto3.client("s3").head_object(Bucket=s3_uri.removeprefix("s3://"), Key=key)
        assert head["ContentType"] == "application/octet-stream"


@pytest.fixture
def dead_endpoint() -> Iterator[str]:
    """An address where nobody answers."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


async def test_a_dead_object_store_fails_in_seconds(
    s3_environment: dict[str, str], dead_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away is said to be, before the test's time is up, and the error shows nothing of it."""
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, dead_endpoint)
    store = open_store("s3://secret-bucket/prefix")
    for attempt in (
        store.head("a"),
        names(store, ""),
        read(store, "a"),
        put(store, "a", b"1"),
        put(store, "a", b"1" * 30 * MIB),
        store.delete("a"),
    ):
        with pytest.raises(errors.TemporarilyUnavailable) as caught:
            await attempt
        assert "secret-bucket" not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)
        assert caught.value.retry_after_s


async def test_named_files_go_and_nothing_else(store: ArtifactStore) -> None:
    """Many at once, some of them missing; what lies beside or below them stays."""
    for path in ("a/b/1", "a/b/2", "a/c", "d"):
        await put(store, path, b"1")
    await store.delete_files(["a/b/1", "a/b/2", "a/none", "none/x"])
    assert await names(store, "", recursive=True) in (["a/c", "d"], ["d", "a/c"])
    await store.delete_files([])
    await store.delete_files(["a/c"])
    assert await names(store, "") == ["d"]


async def test_a_listing_says_when_a_file_was_written(store: ArtifactStore) -> None:
    """To within the clock's second."""
    await put(store, "a", b"1")
    (entry,) = [entry async for entry in store.list("", recursive=True)]
    assert abs(entry.modified_ms - time.time() * 1000) < 5000
