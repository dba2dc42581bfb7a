"""A running registry that asks who is calling, and its commands."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.fixtures.services import Service
from tiltyard.cli import main
from tiltyard.client import Client
from tiltyard.client.address import Credentials

PASSWORD = "correct horse battery"
Run = Callable[..., Result]


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry that takes passwords and tokens, with the administrator `boss`."""
    folder = tmp_path_factory.mktemp("guarded")
    words = ["users", "create-admin", "boss", "--data-dir", str(folder / "data"), "--password-file", "-"]
    made = CliRunner().invoke(main, words, input=f"{PASSWORD}\n")
    assert made.exit_code == 0, made.output
    log = folder / "registry.log"
    service = Service("registry", "--auth", "basic", "--data-dir", str(folder / "data"), log=log).start()
    yield service
    service.terminate()


@pytest.fixture
def boss(guarded: Service) -> Iterator[Client]:
    """The administrator's client."""
    with Client(guarded.url, credentials=Credentials(username="boss", password=PASSWORD)) as client:
        yield client


@pytest.fixture
def tiltyard(guarded: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command as the administrator; `by` says as which other user, `typed` what comes from standard input."""
    monkeypatch.setenv("TILTYARD_REGISTRY_URL", guarded.url)

    def run(*words: str, by: str | None = "boss", typed: str | None = None, status: int = 0) -> Result:
        known = {"MLFLOW_TRACKING_USERNAME": by, "MLFLOW_TRACKING_PASSWORD": PASSWORD} if by else {}
        result = CliRunner().invoke(main, words, input=typed, env=known)
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The file in which tokens are kept."""
    return tmp_path / "configuration" / "tiltyard" / "credentials.json"


def parsed(result: Result) -> Any:
    """What a command printed for scripts."""
    return json.loads(result.stdout)
