"""The backends that the suite brings are real ones, and every test gets its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import obstore
import psutil
from obstore.store import from_url

from tests.fixtures.waiting import wait_until


async def test_postgres_is_a_server_and_each_database_is_empty(new_postgres_url: Callable[..., str]) -> None:
    """A table made in one database is not in the next."""
    for _ in range(2):
        url = new_postgres_url(migrated=False).replace("postgresql+asyncpg", "postgresql")
        connection = await asyncpg.connect(url)
        try:
            assert (await connection.fetchval("SHOW server_version_num")) >= "150000"
            await connection.execute("CREATE TABLE only_here (id int)")
        finally:
            await connection.close()


def test_the_artifact_root_takes_and_gives_bytes(artifact_root: str) -> None:
    """What is put under an artifact root is read back from it, on every kind of store."""
    store = from_url(artifact_root, **({"mkdir": True} if artifact_root.startswith("file") else {}))
    assert list(obstore.list(store)) == []
    obstore.put(store, "a/b.bin", b"\x00\x01")
    assert bytes(obstore.get(store, "a/b.bin").bytes()) == b"\x00\x01"


_RUN = """
import pathlib, sys, time
from tests.fixtures.processes import GuardedProcess, removed_at_the_end
process = GuardedProcess(["sleep", "600"])
removed_at_the_end(pathlib.Path(sys.argv[1]))
print(process.pid, flush=True)
time.sleep(600)
"""


def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    """After kill -9 of a test run its processes end, and the folders that it named are gone."""
    folder = tmp_path / "a cluster"
    folder.mkdir()
    (folder / "file").touch()
    command = [sys.executable, "-c", _RUN, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert psutil.pid_exists(pid) and folder.exists()
        run.kill()
    wait_until(lambda: not folder.exists(), 30)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
