"""The client against a plain MLflow server, which has neither manifests nor the blocking query."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiltyard
from tests.fixtures.processes import GuardedProcess, unused_port
from tiltyard import errors
from tiltyard.client import Client
from tiltyard.models import fetch, resolve
from tiltyard.models.logged import upload_model

pytestmark = pytest.mark.slow

START_TIMEOUT_S = 90.0
FILES = {"MLmodel": b"flavors: {}\n", "data/weights.bin": b"\x00\x01" * 50_000}


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `mlflow server` with proxied artifacts."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = unused_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    log = folder / "log"
    with log.open("wb") as output:
        server = GuardedProcess(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)
            break
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    yield url
    # The command does not pass its signals on to its workers.
    os.killpg(server.pid, signal.SIGKILL)
    server.wait(30)


@pytest.fixture
def client(mlflow_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Client]:
    """A client of the plain server, which the stock variable names."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    monkeypatch.setenv("TILTYARD_CACHE_DIR", str(tmp_path / "cache"))
    with Client() as connected:
        yield connected


def test_a_plain_server_will_do_for_who_accepts_unverified_files(client: Client, tmp_path: Path) -> None:
    """Log, register and alias work; every URI resolves; files are read only by who accepts them unverified."""
    directory = tmp_path / "model"
    for path, body in FILES.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(body)
    model_id = upload_model(client, directory, "plain")
    version = tiltyard.register_model(f"models:/{model_id}", "plain")
    assert (version.version, version.tags, version.aliases) == ("1", [], [])
    tiltyard.register_model(f"models:/{model_id}", "plain")
    client.transition_model_version_stage("plain", 1, "Production")
    uris = {"models:/plain/1": 1, "models:/plain/latest": 2, "models:/plain/Production": 1, f"models:/{model_id}": None}
    for uri, number in uris.items():
        reference = resolve(uri)
        assert (reference.version, reference.manifest, reference.digest) == (number, None, None), uri
        with pytest.raises(errors.ModelIntegrityError, match="accept_unverified"):
            fetch(reference)
        fetched = fetch(reference, accept_unverified=True)
        assert {path: (fetched / path).read_bytes() for path in FILES} == FILES
    for uri in ("models:/plain@nobody", "models:/plain/9", "models:/nobody/1", "models:/plain/Staging"):
        with pytest.raises(errors.ResourceDoesNotExist):
            resolve(uri)


def test_what_a_plain_server_lacks_is_said(client: Client) -> None:
    """Our own additions are missing there, and say so."""
    with pytest.raises((errors.EndpointNotFound, errors.ResourceDoesNotExist)):
        client.get_aliases("plain")
