"""`tiltyard gc` as its operator runs it: killed, beside a writer, dry, and told wrongly."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from tests.fixtures.waiting import wait_until
from tests.registry.store_house import House
from tiltyard.cli import main
from tiltyard_registry.rules.entries import Entry
from tiltyard_registry.rules.metrics import Point
from tiltyard_registry.store.experiments import experiments
from tiltyard_registry.store.models import model_versions
from tiltyard_registry.store.runs import log_batch, runs
from tiltyard_registry.tables.all_tables import metadata
from tiltyard_registry.tables.artifacts import files

T = TypeVar("T")
RUNS, POINTS = 40, 10


class Registry:
    """A database and a directory, used from threads that run no loop of their own."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.url, self.root = database_url, folder / "artifacts"
        self.options = ["--database-url", self.url, "--artifact-root", str(self.root)]

    def do(self, work: Callable[[House], Awaitable[T]]) -> T:
        """What `work` gives, with a registry that is opened for it."""

        async def run() -> T:
            house = House(self.url, str(self.root))
            try:
                return await work(house)
            finally:
                await house.database.close()

        return asyncio.run(run())

    def files(self) -> set[str]:
        """What is there now; directories may go while one looks."""
        walked = os.walk(self.root)
        found = {
            (Path(folder) / name).relative_to(self.root).as_posix() for folder, _, names in walked for name in names
        }
        return {path for path in found if not path.startswith(".uploads/")}

    def gc(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["gc", *self.options, *arguments])

    def report(self, *arguments: str) -> dict[str, object]:
        result = self.gc("--json", *arguments)
        assert result.exit_code == 0, result.output
        told: dict[str, object] = json.loads(result.output)
        return told


@pytest.fixture
def told(database_url: str, tmp_path: Path) -> Registry:
    """An empty registry on each database."""
    return Registry(database_url, tmp_path)


async def run_with_files(house: House, experiment_id: str, name: str, points: int = POINTS) -> str:
    run = (await house.do(runs.create_run, experiment_id, run_name=name))["info"]
    await house.do(
        log_batch.log_batch,
        run["run_id"],
        metrics=[Point("m", float(n), n, n, False) for n in range(points)],
        params=[Entry("p", "1")],
    )
    prefix = house.prefix(run["artifact_uri"])
    for path in ("model/MLmodel", "notes/a"):
        await house.upload(f"{prefix}/{path}", name.encode())
    run_id: str = run["run_id"]
    return run_id


async def rows(house: House) -> dict[str, int]:
    async with house.database.read() as session:
        return {
            table.name: await session.scalar(select(func.count()).select_from(table))
            for table in metadata.sorted_tables
        }


def kill_until_done(registry: Registry, log: Path) -> int:
    """Runs the command, each time killed once it has removed some files, until one comes to its end."""
    command = [sys.executable, "-m", "tiltyard.cli", "gc", *registry.options, "--older-than", "0s"]
    kills = 0
    while True:
        before = len(registry.files())
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_until(
            lambda before=before, process=process: process.poll() is not None or len(registry.files()) <= before - 25
        )
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            return kills
        assert process.returncode == -signal.SIGKILL, log.read_text()
        kills += 1


@pytest.mark.slow
def test_kill_9_anywhere_and_again_ends_in_the_same_state(told: Registry, tmp_path: Path) -> None:
    """What was deleted is gone without a trace, what a version is made of and what is active is whole, to the row."""

    async def prepare(house: House) -> tuple[dict[str, int], set[str]]:
        keeps = [await run_with_files(house, "0", f"keep-{n}") for n in range(3)]
        await house.ensure("m")
        gone = await house.do(experiments.create_experiment, "gone")
        pinned = await run_with_files(house, gone, "pinned")
        await house.create_version("m", f"runs:/{pinned}/model", run_id=pinned)
        stays = {f"0/{one}/artifacts/{path}" for one in keeps for path in ("model/MLmodel", "notes/a")}
        stays.add(f"{gone}/{pinned}/artifacts/model/MLmodel")
        counts = await rows(house)
        for n in range(RUNS):
            run_id = await run_with_files(house, gone if n % 2 else "0", f"gone-{n}")
            await house.do(runs.delete_run, run_id)
        await house.do(experiments.delete_experiment, gone)
        return counts, stays

    counts, stays = told.do(prepare)
    assert kill_until_done(told, tmp_path / "log") >= 2, (tmp_path / "log").read_text()
    last = told.gc("--older-than", "0s")
    assert last.exit_code == 0, last.output

    async def check(house: House) -> dict[str, int]:
        assert (await house.see(model_versions.get_model_version, "m", 1))["status"] == "READY"
        await house.do(experiments.create_experiment, "gone")
        return await rows(house)

    assert told.files() == stays
    left = told.do(check)
    # One experiment went and its name was taken again; one run went whose rows were counted before.
    expected = counts | {
        "runs": counts["runs"] - 1,
        "params": counts["params"] - 1,
        "metrics": counts["metrics"] - POINTS,
        "latest_metrics": counts["latest_metrics"] - 1,
        "run_tags": counts["run_tags"] - 1,
        files.name: counts[files.name] - 1,
    }
    # Each collection has written that it was there.
    assert left.pop("events") > expected.pop("events")
    assert left == expected


def test_a_writer_beside_it_never_waits_long(told: Registry) -> None:
    """While rows go, no write of a server's comes near the half minute after which it would fail."""

    async def prepare(house: House) -> str:
        for n in range(15):
            await house.do(runs.delete_run, await run_with_files(house, "0", f"gone-{n}", points=100))
        return await run_with_files(house, "0", "busy")

    busy = told.do(prepare)
    command = [sys.executable, "-m", "tiltyard.cli", "gc", *told.options, "--older-than", "0s", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)

    async def write(house: House) -> float:
        longest_s = 0.0
        while process.poll() is None:
            begun = time.monotonic()
            await house.do(log_batch.log_metric, busy, Point("x", begun, 1, 1, False))
            longest_s = max(longest_s, time.monotonic() - begun)
            await asyncio.sleep(0.01)
        return longest_s

    assert told.do(write) < 15
    assert json.loads(process.communicate()[0])["runs"] == 15


def test_the_command_tells_what_it_would_do_and_what_it_did(told: Registry) -> None:
    """Dry, then real, then nothing more; and a missing file of a version is exit status 2."""

    async def prepare(house: House) -> None:
        await house.do(runs.delete_run, await run_with_files(house, "0", "gone"))
        await house.register("m")

    told.do(prepare)
    assert told.report()["runs"] == 0
    dry = told.gc("--older-than", "0s", "--dry-run")
    assert "Runs would be purged: 1" in dry.output and "would be removed: 2 files, 8 bytes" in dry.output
    assert len(told.files()) == 4
    assert told.report("--older-than", "0s")["purged"] == {"files": 2, "size_bytes": 8}
    assert told.report("--older-than", "0s")["runs"] == 0
    next(told.root.rglob("model.pkl")).unlink()
    broken = told.gc()
    assert broken.exit_code == 2 and "MISSING files of registered versions: 1\n  m/1: model.pkl" in broken.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--older-than", "soon"], "expected an age such as '30d'"),
        (["--grace", "-1d"], "expected an age such as '30d'"),
        (["--older-than", "1" * 300 + "d"], "expected an age such as '30d'"),
        (["--run-ids", "nobody"], "Run 'nobody' does not exist."),
        (["--experiment-ids", "0"], "not in the deleted lifecycle stage"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_status_1(
    sqlite_url: str, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Nothing is changed and nobody sees a traceback."""
    result = Registry(sqlite_url, tmp_path).gc(*arguments)
    assert result.exit_code == 1 and message in result.output and "Traceback" not in result.output


def test_a_folder_without_a_registry_is_not_made_one(tmp_path: Path) -> None:
    """A mistyped folder is an error, and stays empty."""
    result = CliRunner().invoke(main, ["gc", "--data-dir", str(tmp_path / "typo")])
    assert result.exit_code == 1 and "There is no database" in result.output
    assert not (tmp_path / "typo").exists()
