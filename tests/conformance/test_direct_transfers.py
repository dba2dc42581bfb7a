"""Large files past the registry: the stock client sends them in parts to S3, and reads them there."""

import hashlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.fixtures.services import Service, StartService
from tiltyard.client import Client
from tiltyard.models import fetch, resolve

MIB = 1 << 20
PART = 5 * MIB
BODY = bytes(range(256)) * (7 * MIB // 256)


class Recorder:
    """A pass-through before the S3 server, which notes what came: the client cannot tell it from the store."""

    def __init__(self, target: str) -> None:
        self.seen: list[str] = []
        seen, address = self.seen, urlsplit(target)

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                agent = "client" if self.headers.get("User-Agent", "").startswith("python-requests") else "registry"
                seen.append(f"{agent} {self.command} {'Range' if 'Range' in self.headers else ''} {self.path}")
                connection = http.client.HTTPConnection(address.hostname or "", address.port)
                connection.request(self.command, self.path, body, dict(self.headers))
                reply = connection.getresponse()
                data = reply.read()
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                length = reply.getheader("content-length") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of_the_client(self, method: str) -> list[str]:
        """The client's own requests of the store."""
        return [line for line in self.seen if line.startswith(f"client {method} ")]


@pytest.fixture
def store(s3_server: str, s3_uri: str) -> Iterator[Recorder]:
    """The S3 server, watched."""
    recorder = Recorder(s3_server)
    yield recorder
    recorder.server.shutdown()
    recorder.server.server_close()


@pytest.fixture
def service(
    registry: StartService, database_url: str, s3_uri: str, store: Recorder, s3_environment: dict[str, str]
) -> Service:
    """A registry over each database, whose artifacts are in a bucket."""
    env = s3_environment | {"AWS_ENDPOINT": store.url, "AWS_ENDPOINT_URL": store.url}
    return registry("--database-url", database_url, "--artifact-root", f"{s3_uri}/team a", env=env)


def test_the_stock_client_sends_in_parts_and_reads_by_ranges(
    service: Service, store: Recorder, mlflow_package: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is told by server-info alone; the version made of such a file has the true digest, and cannot be changed."""
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(MIB))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(PART))
    monkeypatch.setenv("MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE", str(3 * MIB))
    mlflow = mlflow_package
    mlflow.set_tracking_uri(service.url)
    file = tmp_path / "weights é.bin"
    file.write_bytes(BODY)
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    try:
        with mlflow.start_run() as run:
            for path in (file, tmp_path / "MLmodel"):
                mlflow.log_artifact(str(path), "model")
        run_id = run.info.run_id
        assert len(store.of_the_client("PUT")) == 2
        loaded = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model/{file.name}", dst_path=str(tmp_path / "d"))
        assert Path(loaded).read_bytes() == BODY
        assert len([line for line in store.of_the_client("GET") if "Range" in line]) == 3
        client = mlflow.MlflowClient()
        client.create_registered_model("m")
        version = client.create_model_version("m", f"runs:/{run_id}/model", run_id)
        assert version.status == "READY"
        with pytest.raises(requests.HTTPError, match="cannot be changed"):
            client.log_artifact(run_id, str(file), "model")
    finally:
        mlflow.set_tracking_uri("")
    with Client(service.url) as own:
        reference = resolve("models:/m/1", client=own)
        assert reference.manifest is not None
        digests = {one.path: (one.size_bytes, one.sha256) for one in reference.manifest.files}
        assert digests[file.name] == (len(BODY), hashlib.sha256(BODY).hexdigest())
    fetched = fetch(reference, cache_dir=tmp_path / "cache")
    assert (fetched / file.name).read_bytes() == BODY
    assert "X-Amz-Signature" not in service.logs


def ask(service: Service, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    url = f"{service.url}/api/2.0/mlflow-artifacts/{path}"
    answer = requests.request(method, url, json=body, timeout=30)
    return answer.status_code, answer.json()


def test_an_upload_that_began_before_the_pin_ends_nowhere(service: Service) -> None:
    """Parts that came while the version was registered make no file; neither does a new upload; links stay short."""
    with Client(service.url) as client:
        info = client.create_logged_model("0", name="m").info
        root = info.artifact_uri.removeprefix("mlflow-artifacts:").strip("/")
        client.upload(f"{root}/MLmodel", b"flavors: {}\n")
        client.upload(f"{root}/weights", b"registered")
        status, begun = ask(service, "POST", f"mpu/create/{root}", {"path": "C:\\Users\\me\\weights", "num_parts": 1})
        assert status == 200
        etag = requests.put(begun["credentials"][0]["url"], data=b"changed!!!", timeout=30).headers["ETag"]
        client.finalize_logged_model(info.model_id)
        client.create_registered_model("m")
        client.create_model_version("m", f"models:/{info.model_id}", model_id=info.model_id)
        done = {"path": "weights", "upload_id": begun["upload_id"], "parts": [{"part_number": 1, "etag": etag}]}
        for action, body in (("complete", done), ("create", {"path": "weights", "num_parts": 1})):
            status, error = ask(service, "POST", f"mpu/{action}/{root}", body)
            assert (status, error["error_code"]) == (409, "RESOURCE_CONFLICT")
        assert b"".join(client.download(f"{root}/weights")) == b"registered"
        for _ in range(2):
            gone = {"path": "weights", "upload_id": begun["upload_id"]}
            assert ask(service, "POST", f"mpu/abort/{root}", gone) == (200, {})
        status, link = ask(service, "GET", f"presigned/{root}/weights")
        assert status == 200 and link["file_size"] == 10 and "X-Amz-Expires=300" in link["url"]
        assert requests.get(link["url"], headers={"Range": "bytes=2-4"}, timeout=30).content == b"gis"
        assert ask(service, "GET", f"presigned/{root}/none")[0] == 404
        assert ask(service, "GET", f"presigned/{root}")[0] == 400
        wrong: list[Any] = [{}, {"path": ""}, {"path": "a/"}, {"path": "x", "num_parts": 0}, {"path": ".."}]
        for body in wrong:
            assert ask(service, "POST", "mpu/create/1/r/artifacts", body)[0] == 400, body
        assert ask(service, "POST", "mpu/create/../x", {"path": "x"})[0] in (400, 404)
        assert ask(service, "POST", "mpu/complete/1/r", {"path": "x", "upload_id": "u", "parts": []})[0] == 400


def test_an_operator_can_keep_clients_away_from_the_store(
    registry: StartService, s3_uri: str, s3_environment: dict[str, str]
) -> None:
    """With `--no-direct-transfers` nothing is advertised, and every byte passes through the registry."""
    service = registry("--artifact-root", s3_uri, "--no-direct-transfers", env=s3_environment)
    info = requests.get(f"{service.url}/api/3.0/mlflow/server-info", timeout=30).json()
    assert not info["multipart_uploads_enabled"] and not info["multipart_downloads_enabled"]
    status, error = ask(service, "POST", "mpu/create/1/r/artifacts", {"path": "f", "num_parts": 1})
    assert (status, error["error_code"]) == (501, "NOT_IMPLEMENTED")
    welcome = requests.get(service.url, timeout=30).json()
    assert welcome["name"] == "Tiltyard registry" and welcome["mlflow_tracking_uri"] == service.url
    page = requests.get(service.url, headers={"Accept": "text/html,*/*"}, timeout=30)
    assert page.headers["content-type"].startswith("text/html") and "/api/tiltyard/v1/docs" in page.text
