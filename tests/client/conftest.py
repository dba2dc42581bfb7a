"""A scripted server for each test, and an environment without anybody's settings."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers `{}` until it is told otherwise."""
    running = ScriptedServer()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The developer's own registry and credentials do not reach these tests."""
    for name in list(os.environ):
        if name.startswith(("TILTYARD_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
