"""What is wrong with a registry's settings, store or folder is one line that says what to do."""

import stat
import sys
from pathlib import Path

import click.testing
import pytest

from tests.registry.api_app import opened
from tiltyard.cli import main
from tiltyard.storage import open_store
from tiltyard_registry.settings import RegistrySettings
from tiltyard_registry.store import preflight
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.sql.database import Database


@pytest.mark.parametrize("command", ["registry", "migrate", "gc"])
@pytest.mark.parametrize("url", ["mysql://u:secret@h/db", "mlflow.db", "mssql+pyodbc://h/db"])
def test_a_database_of_another_kind_is_refused_in_one_line(command: str, url: str, tmp_path: Path) -> None:
    """No traceback, no password; the line says what is expected."""
    arguments = [command, "--database-url", url, "--data-dir", str(tmp_path)]
    done = click.testing.CliRunner().invoke(main, arguments)
    assert done.exit_code == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "expected postgresql://" in done.stderr and "secret" not in done.output


def test_the_urls_of_other_drivers_are_understood() -> None:
    """A URL that an MLflow server was started with needs no other driver's name."""
    for scheme in ("postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"):
        assert RegistrySettings(database_url=f"{scheme}://h/db").resolved_database_url == "postgresql+asyncpg://h/db"
    for scheme in ("sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"):
        assert RegistrySettings(database_url=f"{scheme}:///a.db").resolved_database_url == "sqlite:///a.db"


async def test_a_store_that_cannot_be_used_is_said_with_what_to_do(
    s3_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that is missing, an endpoint where nobody is; one that answers is fine."""
    assert await preflight.problem_of_store(ArtifactRoot(open_store(s3_uri), s3_uri)) is None
    absent = f"{s3_uri}-absent"
    told = await preflight.problem_of_store(ArtifactRoot(open_store(absent), absent))
    assert told and f"at '{absent}': The artifact store's bucket does not exist. Check --artifact-root" in told
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    told = await preflight.problem_of_store(ArtifactRoot(open_store(s3_uri), s3_uri))
    assert told and "does not answer. Check" in told


async def test_a_database_without_the_schema_is_said_with_what_to_do(empty_database_url: str) -> None:
    """The command that brings it up to date."""
    database = Database(empty_database_url)
    assert "Run 'tiltyard migrate'" in str(await preflight.problem_of_database(database))
    await database.close()


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"])
async def test_an_endpoint_that_is_named_by_http_needs_no_second_word(
    s3_uri: str, s3_server: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`AWS_ALLOW_HTTP` may be left out, and may still forbid it."""
    for other in ("AWS_ALLOW_HTTP", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, s3_server)
    assert await preflight.problem_of_store(ArtifactRoot(open_store(s3_uri), s3_uri)) is None
    monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
    assert await preflight.problem_of_store(ArtifactRoot(open_store(s3_uri), s3_uri)) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
async def test_the_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The folder that is made for it, the file, and the log of writes beside it, whatever the umask."""
    import os

    before = os.umask(0)
    try:
        async with opened(tmp_path / "data") as api:
            await api.ok("POST", "/api/2.0/mlflow/runs/create", {})
            for path in [tmp_path / "data", *(tmp_path / "data").glob("tiltyard.db*")]:
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    finally:
        os.umask(before)
