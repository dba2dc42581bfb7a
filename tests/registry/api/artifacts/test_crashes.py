"""Artifacts survive what kills the registry: whole or absent, and registered as what they are."""

import hashlib
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fixtures.services import Service, StartService
from tests.fixtures.waiting import wait_until
from tests.registry.plain_http import in_flight
from tiltyard.client import Client
from tiltyard.models import fetch, register_model, resolve
from tiltyard.models.logged import upload_model

MIB = 1 << 20
FILES = {"MLmodel": b"flavors: {}\n", "data/weights.bin": b"\x01\x02" * MIB}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model directory."""
    root = tmp_path / "model"
    for path, body in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
    return root


def kill(service: Service) -> None:
    service.signal(signal.SIGKILL)
    service.wait()


def test_kill_9_between_upload_and_registration(registry: StartService, directory: Path, tmp_path: Path) -> None:
    """Files uploaded before the crash are registered after it, with the digest of their bytes."""
    service = registry()
    with Client(service.url) as client:
        model_id = upload_model(client, directory, "m")
        kill(service)
        service.start()
        register_model(f"models:/{model_id}", "m", client=client)
        reference = resolve("models:/m/1", client=client)
    assert reference.manifest is not None
    assert {file.path: file.sha256 for file in reference.manifest.files} == {
        path: hashlib.sha256(body).hexdigest() for path, body in FILES.items()
    }
    fetched = fetch(reference, cache_dir=tmp_path / "cache")
    assert {path: (fetched / path).read_bytes() for path in FILES} == FILES


def test_kill_9_in_the_middle_of_an_upload(registry: StartService, directory: Path) -> None:
    """A half-sent file is not there after the restart, an overwritten one is what it was, and no version has it."""
    service = registry()
    with Client(service.url) as client, ExitStack() as open_sockets:
        info = client.create_logged_model("0", name="m").info
        root = info.artifact_uri.removeprefix("mlflow-artifacts:").strip("/")
        client.upload(f"{root}/whole", b"before")
        address = urlsplit(service.url)
        for path in ("whole", "half"):
            connection = open_sockets.enter_context(
                socket.create_connection((address.hostname, address.port), timeout=10)
            )
            connection.sendall(
                f"PUT /api/2.0/mlflow-artifacts/artifacts/{root}/{path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Content-Length: {50 * MIB}\r\n\r\n".encode()
            )
            connection.sendall(b"x" * 5 * MIB)
        wait_until(lambda: in_flight(service.port) >= 2)
        kill(service)
        service.start()
        assert [file.path for file in client.list_artifacts(root)] == ["whole"]
        assert b"".join(client.download(f"{root}/whole")) == b"before"
        client.finalize_logged_model(info.model_id)
        register_model(f"models:/{info.model_id}", "m", client=client)
        manifest = resolve("models:/m/1", client=client).manifest
        assert manifest is not None
        assert [file.path for file in manifest.files] == ["whole"]
