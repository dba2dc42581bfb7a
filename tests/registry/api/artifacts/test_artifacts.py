"""The artifact proxy over real sockets: on both databases, on a directory and on a bucket."""

import asyncio
import hashlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest
import uvicorn
from litestar import Litestar
from sqlalchemy import insert, select

from tests.fixtures.databases import migrated_sqlite, sqlite_url_of
from tests.fixtures.waiting import wait_until
from tiltyard import errors
from tiltyard.storage import ArtifactStore, open_store
from tiltyard_registry.api.artifacts.direct_transfers import NO_MULTIPART, NO_PRESIGNED
from tiltyard_registry.api.artifacts.proxy import artifact_routes
from tiltyard_registry.api.framework.errors import handle
from tiltyard_registry.rules.access import SYSTEM
from tiltyard_registry.store.artifacts import hashes, manifests, paths
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables import models, namespaces
from tiltyard_registry.tables.artifacts import files

ROOT = "/api/2.0/mlflow-artifacts/artifacts"
MIB = 1 << 20


class Proxy:
    """The proxy behind a real server, with its database and store at hand."""

    def __init__(self, database_url: str, artifact_store: ArtifactStore) -> None:
        self.database_url = database_url
        self.store = artifact_store
        self.database = Database(database_url)
        routes = artifact_routes(self.database, artifact_store, lambda scope: SYSTEM)
        stop = [self.database.close]
        app = Litestar(routes, exception_handlers={Exception: handle}, on_shutdown=stop, logging_config=None)
        self.ended = 0  # requests, answered or not

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            finally:
                self.ended += 1

        config = uvicorn.Config(counted, port=0, log_level="warning", lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def stop(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join()

    def put(self, path: str, body: Any) -> httpx2.Response:
        return self.http.put(f"{ROOT}/{quote(path)}", content=body)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.http.get(f"{ROOT}/{quote(path)}", headers=headers)

    def listing(self, path: str) -> dict[str, Any]:
        response = self.http.get(ROOT, params={"path": path})
        assert response.status_code == 200
        body: dict[str, Any] = response.json()
        return body

    def within(self, work: Any) -> Any:
        """What `work(database)` gives, with an engine of its own, as another process has."""

        async def main() -> Any:
            database = Database(self.database_url)
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(main())

    def pin(self, prefix: str) -> Any:
        """Registers what lies at `prefix` as version 1 of a model, and gives its manifest."""

        async def pinned(database: Database) -> Any:
            async with database.scopes.alone(paths.scope_of(prefix) or prefix):
                entries = await hashes.hash_all(database, self.store, prefix)
                async with database.write() as session:
                    return await register(session, entries)

        async def register(session: Any, entries: Any) -> Any:
            manifest = await manifests.manifest_of(session, prefix, entries)
            await manifests.store_manifest(session, manifest)
            assert await manifests.get_manifest(session, manifest.digest) == manifest
            times = {"creation_timestamp": 1, "last_updated_timestamp": 1}
            catalog = await session.scalar(
                insert(namespaces.catalogs)
                .values(uuid="u", name=f"c{prefix}", created_at=1, updated_at=1)
                .returning(namespaces.catalogs.c.id)
            )
            schema = await session.scalar(
                insert(namespaces.schemas)
                .values(uuid="u", catalog_id=catalog, name="s", created_at=1, updated_at=1)
                .returning(namespaces.schemas.c.id)
            )
            model = await session.scalar(
                insert(models.registered_models)
                .values(uuid="u", schema_id=schema, name=f"m{prefix}", **times)
                .returning(models.registered_models.c.id)
            )
            await session.execute(
                insert(models.model_versions).values(
                    registered_model_id=model,
                    version=1,
                    uuid="u",
                    source="s",
                    status="READY",
                    storage_location="l",
                    pinned_prefix=prefix,
                    manifest_digest=manifest.digest,
                    **times,
                )
            )
            return manifest

        return self.within(pinned)


@pytest.fixture
def proxy(database_url: str, artifact_root: str) -> Iterator[Proxy]:
    """A running proxy on each database and each kind of store."""
    running = Proxy(database_url, open_store(artifact_root))
    yield running
    running.stop()


@pytest.fixture
def local(sqlite_url: str, tmp_path: Path) -> Iterator[Proxy]:
    """A running proxy on SQLite and a directory, for what no backend changes."""
    running = Proxy(sqlite_url, open_store((tmp_path / "artifacts").as_uri()))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """As `local`, but one for all tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("shared")
    url = sqlite_url_of(migrated_sqlite(folder / "tiltyard.db"))
    running = Proxy(url, open_store((folder / "artifacts").as_uri()))
    yield running
    running.stop()


def error_of(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error_code"]


def test_upload_list_download_delete(proxy: Proxy) -> None:
    """A file put through the proxy is listed by base name, read back, and gone after delete."""
    body = bytes(range(256)) * 40_000
    put = proxy.put("1/run/artifacts/model/weights é.bin", body)
    assert (put.status_code, put.content) == (200, b"")
    assert proxy.put("1/run/artifacts/model/MLmodel", b"flavors: {}\n").status_code == 200
    assert proxy.listing("1/run/artifacts") == {"files": [{"path": "model", "is_dir": True}]}
    assert proxy.listing("1/run/artifacts/model") == {
        "files": [
            {"path": "MLmodel", "is_dir": False, "file_size": 12},
            {"path": "weights é.bin", "is_dir": False, "file_size": len(body)},
        ]
    }
    got = proxy.get("1/run/artifacts/model/weights é.bin")
    assert got.content == body
    assert got.headers["content-length"] == str(len(body))
    deleted = proxy.http.delete(f"{ROOT}/1/run/artifacts/model")
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert proxy.http.delete(f"{ROOT}/1/run/artifacts/model").status_code == 200
    assert proxy.listing("1/run/artifacts") == {}
    assert error_of(proxy.get("1/run/artifacts/model/MLmodel")) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_empty_and_chunked_bodies(proxy: Proxy) -> None:
    """An empty file that comes chunked, and a body without a length, are stored whole."""
    assert proxy.put("1/r/artifacts/empty", iter(())).status_code == 200
    assert proxy.put("1/r/artifacts/chunked", iter([b"a" * 70_000, b"b"])).status_code == 200
    assert proxy.get("1/r/artifacts/empty").content == b""
    assert proxy.get("1/r/artifacts/chunked").content == b"a" * 70_000 + b"b"


def test_a_listing_of_a_file_or_of_nothing_is_empty(proxy: Proxy) -> None:
    """Clients take an empty object for 'this is a file'."""
    proxy.put("1/r/artifacts/f", b"1")
    assert proxy.listing("1/r/artifacts/f") == {}
    assert proxy.listing("1/r/nothing") == {}


def test_the_manifest_has_the_hashes_of_the_uploads(proxy: Proxy) -> None:
    """Hashes taken while streaming are those of the bytes; files that came another way are read."""
    bodies = {"MLmodel": b"x", "data/model.pkl": b"y" * 3 * MIB, "foreign.txt": b"not through us"}
    for name in ("MLmodel", "data/model.pkl"):
        proxy.put(f"1/models/m-1/artifacts/{name}", bodies[name])

    async def put_directly() -> None:
        async with proxy.store.open_writer("1/models/m-1/artifacts/foreign.txt") as writer:
            await writer.write(bodies["foreign.txt"])
            await writer.commit()

    asyncio.run(put_directly())

    async def unknown(database: Database) -> list[str]:
        _, found = await hashes.listed(database, proxy.store, "1/models/m-1/artifacts")
        return [entry.path for entry in found]

    assert proxy.within(unknown) == ["1/models/m-1/artifacts/foreign.txt"]
    manifest = proxy.pin("1/models/m-1/artifacts")
    assert {file.path: (file.size_bytes, file.sha256) for file in manifest.files} == {
        name: (len(body), hashlib.sha256(body).hexdigest()) for name, body in bodies.items()
    }
    text = "".join(
        f"{hashlib.sha256(body).hexdigest()}  {len(body)}  {name}\n"
        for name, body in sorted(bodies.items(), key=lambda item: item[0].encode())
    )
    assert manifest.digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert proxy.within(unknown) == []


def test_a_stale_hash_does_not_count(proxy: Proxy) -> None:
    """A file changed behind the registry's back is hashed again."""
    proxy.put("1/r/artifacts/m/f", b"one")

    async def change() -> None:
        async with proxy.store.open_writer("1/r/artifacts/m/f") as writer:
            await writer.write(b"two")
            await writer.commit()

    asyncio.run(change())
    assert proxy.pin("1/r/artifacts/m").files[0].sha256 == hashlib.sha256(b"two").hexdigest()


def test_what_a_version_pins_stays(proxy: Proxy) -> None:
    """Writes at and below a pinned prefix, and deletes at, below and above it, are refused; others pass."""
    for name in ("m/f", "m/d/g", "mm/f", "other"):
        proxy.put(f"1/r/artifacts/{name}", b"1")
    proxy.pin("1/r/artifacts/m")
    for path in ("m/f", "m/new", "m/d/g", "m"):
        assert error_of(proxy.put(f"1/r/artifacts/{path}", b"2")) == (409, "RESOURCE_CONFLICT"), path
    for path in ("1/r/artifacts/m/f", "1/r/artifacts/m/d", "1/r/artifacts/m", "1/r/artifacts", "1/r", "1"):
        assert error_of(proxy.http.delete(f"{ROOT}/{path}")) == (409, "RESOURCE_CONFLICT"), path
    for path in ("mm/f", "m2", "M/f"):
        assert proxy.put(f"1/r/artifacts/{path}", b"2").status_code == 200, path
    assert proxy.http.delete(f"{ROOT}/1/r/artifacts/mm").status_code == 200
    assert proxy.get("1/r/artifacts/m/f").content == b"1"
    assert proxy.put("1/r2/artifacts/m/f", b"1").status_code == 200
    assert proxy.http.delete(f"{ROOT}/1/r2").status_code == 200


def test_an_upload_racing_with_registration_is_in_the_manifest_or_refused(proxy: Proxy) -> None:
    """Whatever the order of many uploads and one registration, the files are what the manifest says."""
    for number in range(4):
        proxy.put(f"1/r/artifacts/m/{number}", b"before")
    statuses: dict[int, int] = {}

    def overwrite(number: int) -> None:
        with httpx2.Client(timeout=30) as client:
            url = f"http://127.0.0.1:{proxy.port}{ROOT}/1/r/artifacts/m/{number}"
            statuses[number] = client.put(url, content=b"after").status_code

    threads = [threading.Thread(target=overwrite, args=(number,)) for number in range(8)]
    for thread in threads[:4]:
        thread.start()
    manifest = proxy.pin("1/r/artifacts/m")
    for thread in threads[4:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses.values()) <= {200, 409}
    stored = {
        entry["path"]: hashlib.sha256(proxy.get(f"1/r/artifacts/m/{entry['path']}").content).hexdigest()
        for entry in proxy.listing("1/r/artifacts/m")["files"]
    }
    assert stored == {file.path: file.sha256 for file in manifest.files}


def test_a_refused_upload_is_refused_before_its_body(local: Proxy) -> None:
    """A pinned path is refused although the body never comes."""
    local.put("1/r/artifacts/m/f", b"1")
    local.pin("1/r/artifacts/m")
    with socket.create_connection(("127.0.0.1", local.port), timeout=10) as connection:
        connection.sendall(
            f"PUT {ROOT}/1/r/artifacts/m/f HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".encode()
        )
        assert b" 409 " in connection.recv(65536).partition(b"\r\n")[0]


def test_a_large_refused_upload_still_gets_its_answer(local: Proxy) -> None:
    """A client that sends everything before it listens reads the 409, and the connection goes on."""
    local.put("1/r/artifacts/m/f", b"1")
    local.pin("1/r/artifacts/m")
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=30)
    connection.request("PUT", f"{ROOT}/1/r/artifacts/m/f", body=b"x" * 20 * MIB)
    response = connection.getresponse()
    assert response.status == 409
    assert json.loads(response.read())["error_code"] == "RESOURCE_CONFLICT"
    connection.request("GET", f"{ROOT}/1/r/artifacts/m/f")
    assert connection.getresponse().read() == b"1"
    connection.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_cut_upload_leaves_nothing(proxy: Proxy, framing: str) -> None:
    """A connection that breaks in the middle of a body stores no file and no row."""
    ended = proxy.ended
    head = "Content-Length: 40000000" if framing == "length" else "Transfer-Encoding: chunked"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(f"PUT {ROOT}/1/r/artifacts/cut HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        if framing == "chunked":
            connection.sendall(f"{10 * MIB:x}\r\n".encode())
        connection.sendall(b"x" * 9 * MIB)
    wait_until(lambda: proxy.ended > ended)

    async def rows(database: Database) -> list[Any]:
        async with database.read() as session:
            return list(await session.all(select(files)))

    assert error_of(proxy.get("1/r/artifacts/cut")) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert proxy.listing("1/r/artifacts") == {}
    assert proxy.within(rows) == []


@pytest.mark.parametrize(
    ("header", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=90-", 206, slice(90, 100)),
        ("bytes=-5", 206, slice(95, 100)),
        ("bytes=50-5000", 206, slice(50, 100)),
        ("bytes=-5000", 206, slice(0, 100)),
        ("bytes=100-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
        ("bytes=9-3", 200, slice(0, 100)),
        ("bytes=0-1,5-6", 200, slice(0, 100)),
        ("lines=1-2", 200, slice(0, 100)),
        ("bytes=a-b", 200, slice(0, 100)),
    ],
)
def test_ranges(shared: Proxy, header: str, status: int, part: slice) -> None:
    """One satisfiable range is answered with 206, an impossible one with 416, any other form with the whole."""
    body = bytes(range(100))
    shared.put("1/r/artifacts/f", body)
    response = shared.get("1/r/artifacts/f", Range=header)
    assert (response.status_code, response.content) == (status, body[part])
    if status == 206:
        assert response.headers["content-range"] == f"bytes {part.start}-{part.stop - 1}/100"


def test_a_range_of_another_state_of_the_file_is_the_whole_file(local: Proxy) -> None:
    """`If-Range` with an old ETag gets the new file from its start."""
    local.put("1/r/artifacts/f", b"0123456789")
    etag = local.get("1/r/artifacts/f").headers["etag"]
    assert local.get("1/r/artifacts/f", **{"Range": "bytes=5-", "If-Range": etag}).content == b"56789"
    local.put("1/r/artifacts/f", b"abcdefghij!")
    response = local.get("1/r/artifacts/f", **{"Range": "bytes=5-", "If-Range": etag})
    assert (response.status_code, response.content) == (200, b"abcdefghij!")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("MLmodel", "text/plain"),
        ("a.json", "text/plain"),
        ("a.YAML", "text/plain"),
        ("page.html", "text/plain"),
        ("pic.svg", "text/plain"),
        ("pic.SVGZ", "text/plain"),
        ("page.xhtml", "text/plain"),
        ("page.htm.gz", "application/octet-stream"),
        ("code.mjs", "text/plain"),
        ("style.xsl", "text/plain"),
        ("feed.rss", "application/octet-stream"),
        ("pic.png", "image/png"),
        ("model.pkl", "application/octet-stream"),
        ("no-suffix", "application/octet-stream"),
    ],
)
def test_a_file_is_answered_as_an_inert_download(shared: Proxy, name: str, kind: str) -> None:
    """Nothing stored can run in a browser that opens it."""
    shared.put(f"1/r/artifacts/{name}", b"<script>alert(1)</script>")
    headers = shared.get(f"1/r/artifacts/{name}").headers
    assert headers["content-type"] == kind
    assert headers["content-disposition"].startswith(f'attachment; filename="{name}"')
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


def test_a_file_name_cannot_break_the_headers(local: Proxy) -> None:
    """Quotes, semicolons and other scripts in a name stay inside the disposition."""
    name = 'é";x=y%.bin'
    local.put(f"1/r/artifacts/{name}", b"1")
    disposition = local.get(f"1/r/artifacts/{name}").headers["content-disposition"]
    assert disposition == "attachment; filename=\"__;x=y_.bin\"; filename*=UTF-8''%C3%A9%22%3Bx%3Dy%25.bin"


def test_mistakes_of_the_caller(local: Proxy) -> None:
    """Directories, trailing slashes, partial uploads and unknown resources are refused with what is wrong."""
    local.put("1/r/artifacts/d/f", b"1")
    assert error_of(local.get("1/r/artifacts/d")) == (400, "INVALID_PARAMETER_VALUE")
    assert error_of(local.http.put(f"{ROOT}/1/r/artifacts/d/", content=b"1")) == (400, "INVALID_PARAMETER_VALUE")
    assert error_of(local.http.put(f"{ROOT}", content=b"1")) == (400, "INVALID_PARAMETER_VALUE")
    assert error_of(local.put("1/r/artifacts/d", b"1")) == (400, "INVALID_PARAMETER_VALUE")
    assert error_of(local.put("1/r/artifacts/d/f/g", b"1")) == (400, "INVALID_PARAMETER_VALUE")
    part = local.http.put(f"{ROOT}/1/r/artifacts/p", content=b"1", headers={"Content-Range": "bytes 0-0/2"})
    assert error_of(part) == (400, "INVALID_PARAMETER_VALUE")
    assert error_of(local.http.delete(ROOT)) == (400, "INVALID_PARAMETER_VALUE")
    assert error_of(local.http.post(f"{ROOT}/1/r/artifacts/f")) == (404, "ENDPOINT_NOT_FOUND")
    assert error_of(local.http.get("/api/2.0/mlflow-artifacts/nothing")) == (404, "ENDPOINT_NOT_FOUND")
    assert error_of(local.put("a/" + "é" * 600, b"1")) == (400, "INVALID_PARAMETER_VALUE")


def test_head_answers_the_headers_alone(local: Proxy) -> None:
    """HEAD tells the size and sends no body."""
    local.put("1/r/artifacts/f", b"12345")
    response = local.http.head(f"{ROOT}/1/r/artifacts/f")
    assert (response.status_code, response.headers["content-length"], response.content) == (200, "5", b"")


@pytest.mark.parametrize("prefix", ["/api/2.0", "/ajax-api/2.0"])
def test_multipart_and_presigned_are_declined_as_clients_expect(shared: Proxy, prefix: str) -> None:
    """The texts are those at which the stock client falls back to a plain upload."""
    for action in ("create", "complete", "abort"):
        response = shared.http.post(f"{prefix}/mlflow-artifacts/mpu/{action}/1/r/artifacts", json={"path": "f"})
        assert (*error_of(response), response.json()["message"]) == (501, "NOT_IMPLEMENTED", NO_MULTIPART)
    response = shared.http.get(f"{prefix}/mlflow-artifacts/presigned/1/r/artifacts/f")
    assert (*error_of(response), response.json()["message"]) == (501, "NOT_IMPLEMENTED", NO_PRESIGNED)


TRAVERSALS = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc/passwd",
    "%252e%252e%252fetc/passwd",
    "%25252e%25252e%25252fetc/passwd",
    "1/..%5c..%5cetc",
    "..%5c..%5cetc",
    "1/r/..;/..;/etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "file:%2f%2f%2fetc/passwd%3f/../..",
    "C:%5cwindows",
    "c:/windows",
    "%5c%5chost%5cshare",
    "1/a%00b",
    "1/a%0ab",
    "1/a%23b",
    "1/a%3fb",
    "1/%2e%2e",
    "1/%2e%2e%20/x",
    "1/%20../x",
    "%c0%ae%c0%ae/etc/passwd",
    "1/%ff%fe",
    "a/" * 1500 + "x",
]


def contents(folder: Path) -> dict[Path, int]:
    """Every file in `folder` and its size, but for the database's."""
    files = (path for path in folder.rglob("*") if not path.name.startswith("tiltyard.db"))
    return {path: path.stat().st_size for path in files}


@pytest.mark.parametrize("path", TRAVERSALS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "LIST", "MPU", "PRESIGNED"])
def test_no_encoding_of_a_path_leaves_the_root(shared: Proxy, method: str, path: str) -> None:
    """Every way to spell a path out of the root is a 4xx in every operation, and nothing changes."""
    folder = Path(urlsplit(shared.database_url).path).parent
    before = contents(folder)
    target = {
        "LIST": f"{ROOT}?path={path}",
        "MPU": f"/api/2.0/mlflow-artifacts/mpu/create/{path}",
        "PRESIGNED": f"/api/2.0/mlflow-artifacts/presigned/{path}",
    }.get(method, f"{ROOT}/{path}")
    verb = {"LIST": "GET", "MPU": "POST", "PRESIGNED": "GET"}.get(method, method)
    # Written by hand: an HTTP client would tidy the path up.
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as connection:
        connection.sendall(
            f"{verb} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1".encode()
        )
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 4"), answer[:300]
    assert b"root:" not in answer
    assert str(folder).encode() not in answer
    assert contents(folder) == before


class BreakingStore:
    """A store that fails after a number of bytes, as a full disk or a lost network does."""

    def __init__(self, inner: ArtifactStore, after_bytes: int) -> None:
        self.inner = inner
        self._after_bytes = after_bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def open_writer(self, path: str) -> Any:
        return _BreakingWriter(self.inner.open_writer(path), self._after_bytes)

    async def get(self, *arguments: Any, **options: Any) -> Any:
        left = self._after_bytes
        async for chunk in self.inner.get(*arguments, **options):
            if len(chunk) > left:
                raise errors.TemporarilyUnavailable("The artifact store does not answer.", retry_after_s=5)
            left -= len(chunk)
            yield chunk


class _BreakingWriter:
    def __init__(self, context: Any, after_bytes: int) -> None:
        self._context = context
        self._left = after_bytes

    async def __aenter__(self) -> "_BreakingWriter":
        self._writer = await self._context.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._context.__aexit__(*exception)

    async def write(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise errors.TemporarilyUnavailable("The artifact store does not answer.", retry_after_s=5)
        await self._writer.write(chunk)

    async def seal(self) -> None:
        await self._writer.seal()

    async def commit(self) -> Any:
        return await self._writer.commit()


@pytest.fixture
def breaking(sqlite_url: str, artifact_root: str) -> Iterator[Proxy]:
    """A proxy whose store breaks after 2 MiB of any transfer."""
    running = Proxy(sqlite_url, BreakingStore(open_store(artifact_root), 2 * MIB))  # type: ignore[arg-type]
    yield running
    running.stop()


def test_a_store_that_breaks_during_an_upload(breaking: Proxy) -> None:
    """The caller reads 503 with Retry-After, and no part of the file is left."""
    response = breaking.put("1/r/artifacts/f", b"x" * 12 * MIB)
    assert error_of(response) == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.headers["retry-after"] == "5"
    assert breaking.listing("1/r/artifacts") == {}


def test_a_store_that_breaks_during_a_download(breaking: Proxy) -> None:
    """A download that cannot be finished ends as a broken connection, never as a short file."""

    async def put() -> None:
        async with breaking.store.inner.open_writer("1/r/artifacts/f") as writer:  # type: ignore[attr-defined]
            for _ in range(12):
                await writer.write(b"x" * MIB)
            await writer.commit()

    asyncio.run(put())
    with pytest.raises(httpx2.TransportError):
        breaking.get("1/r/artifacts/f")


def test_parallel_downloads_and_uploads(local: Proxy) -> None:
    """Sixteen clients at once each get their own bytes."""
    results: dict[int, bool] = {}

    def work(number: int) -> None:
        body = bytes([number]) * (MIB + number)
        with httpx2.Client(base_url=f"http://127.0.0.1:{local.port}", timeout=60) as client:
            assert client.put(f"{ROOT}/1/r{number}/artifacts/f", content=body).status_code == 200
            results[number] = client.get(f"{ROOT}/1/r{number}/artifacts/f").content == body

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(16), True)
