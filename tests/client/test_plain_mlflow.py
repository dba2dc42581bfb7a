"""The client against a plain MLflow server, which has neither manifests nor the blocking query."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tiltyard
from tests.fixtures.mlflow_server import MLflowServer
from tiltyard import errors
from tiltyard.client import Client
from tiltyard.models import fetch, resolve
from tiltyard.models.logged import upload_model

pytestmark = pytest.mark.slow

FILES = {"MLmodel": b"flavors: {}\n", "data/weights.bin": b"\x00\x01" * 50_000}


@pytest.fixture
def client(mlflow_server: MLflowServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Client]:
    """A client of the plain server, which the stock variable names."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
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
