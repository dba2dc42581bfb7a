"""The tracking server beside its peers, on PostgreSQL and on SQLite, the same work on each in turn; prints ratios.

`TILTYARD_BENCH_SECONDS` (2) is the length of a round, `TILTYARD_BENCH_ROUNDS` (3) their number, of which the
median counts; `TILTYARD_BENCH_RUNS` (1000) how many runs there are, `TILTYARD_BENCH_MANY_RUNS` (100000) how many in
the large experiment. CPU per request is steadier than requests per second where others use the machine.
"""

import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.bench.load import Measured, Target, Turn, body_of, get, post, run, wait_until_idle
from tests.bench.registry.databases import NAMES, Databases
from tests.bench.registry.many_runs import add_runs
from tests.bench.registry.tracking import ALIAS, API, Runs, asks, page, register, search
from tests.fixtures.processes import GuardedProcess, unused_port

SECONDS = float(os.environ.get("TILTYARD_BENCH_SECONDS", "2"))
ROUNDS = int(os.environ.get("TILTYARD_BENCH_ROUNDS", "3"))
RUNS = int(os.environ.get("TILTYARD_BENCH_RUNS", "1000"))
MANY_RUNS = int(os.environ.get("TILTYARD_BENCH_MANY_RUNS", "100000"))
FRAME_RUNS = 20_000
FILES, FILE_BYTES = 300, 4096
LARGE_FILE_MB = int(os.environ.get("TILTYARD_BENCH_FILE_MB", "300"))
FILES_GOAL = 1.2
HEALTH_GOAL_PER_S = 3_000
FASTTRACKML = "fasttrackml==0.6.0"  # needs an MLflow below 3, so it has an environment of its own
PSYCOPG = "psycopg[binary]==3.3.9"  # the driver that MLflow takes for PostgreSQL
_BUILD = Path(__file__).parents[3] / ".build"
_FML, _PSYCOPG = _BUILD / "fasttrackml", _BUILD / "psycopg"


def _built(place: Path, *install: object) -> Path:
    """`place`, into which uv has installed something that this repository does not depend on."""
    if not place.exists():
        uv = next((one for one in ("uv", ".build/uv/bin/uv") if _works(one)), "uv")
        if "--target" not in install:
            subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, _FML], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", *map(str, install)], check=True)
    return place


def _works(command: str) -> bool:
    try:
        return subprocess.run([command, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """A database for each server, of both kinds in turn."""
    postgres = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    return Databases(postgres, tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="module")
def targets(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    """The three servers, each on a database of its own."""
    folder, python = tmp_path_factory.mktemp("bench"), sys.executable
    ports = {name: unused_port() for name in NAMES}
    urls, workers = {name: databases.url(name) for name in NAMES}, databases.workers
    server = _built(_FML / "bin" / "fml", "--python", _FML / "bin" / "python", FASTTRACKML)
    driver = _built(_PSYCOPG, "--python", python, "--target", _PSYCOPG, PSYCOPG)
    commands: dict[str, str] = {
        "Tiltyard": f"{python} -m tiltyard.cli registry --workers {workers} --port {ports['Tiltyard']}"
        f" --database-url {urls['Tiltyard']} --data-dir {folder}/own",
        "FastTrackML": f"{server} server -a 127.0.0.1:{ports['FastTrackML']} --log-level error"
        f" -d {urls['FastTrackML']} --default-artifact-root {folder}/fast",
        "MLflow": f"{python} -m mlflow server --workers {workers} --port {ports['MLflow']}"
        f" --backend-store-uri {urls['MLflow']} --artifacts-destination {folder}/stock",
    }
    running: dict[str, GuardedProcess] = {}
    for name, command in commands.items():
        environment = {**os.environ, "PYTHONPATH": str(driver)} if name == "MLflow" else None
        with (folder / f"{name}.log").open("wb") as output:
            running[name] = GuardedProcess(
                command.split(), stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=environment
            )
    try:
        for name, process in running.items():
            _wait(ports[name], process, folder / f"{name}.log")
        found = {name: Target(name, ports[name], process.pid) for name, process in running.items()}
        wait_until_idle(found.values())
        yield found
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            _ended(process)


def _ended(process: GuardedProcess) -> None:
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        # A peer that does not stop in time takes no figure away.
        process.kill()
        process.wait()


def _wait(port: int, process: GuardedProcess, log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.2)
        else:
            return


class Table:
    """Each server's rounds per work; printed as medians and as Tiltyard's ratios."""

    def __init__(self, targets: dict[str, Target]) -> None:
        self._targets = targets

    def add(
        self,
        work: str,
        turn: Callable[[str], Turn],
        goals: dict[str, float],
        connections: int = 1,
        turns: int | None = None,
    ) -> float:
        """Does one work in rounds, and gives Tiltyard's speed; `goals` are ratios that must hold, by peer."""
        names = ["Tiltyard", *goals]
        rounds: dict[str, list[Measured]] = {name: [] for name in names}
        for _ in range(1 if turns else ROUNDS):
            for name in names:
                rounds[name].append(
                    run(
                        self._targets[name],
                        turn(name),
                        connections=connections,
                        turns=turns,
                        seconds=600 if turns else SECONDS,
                    )
                )
        speed = {name: statistics.median(one.per_second for one in rounds[name]) for name in names}
        cpu = {name: statistics.median(one.cpu_ms for one in rounds[name]) for name in names}
        refused = {name: sum(one.refused for one in rounds[name]) for name in names}
        assert refused["Tiltyard"] == 0, f"Tiltyard refused {refused['Tiltyard']} requests of: {work}"
        shown = "  ".join(
            f"{name} {speed[name]:.1f}/s ({cpu[name]:.2f} ms CPU{f', {refused[name]} refused' * bool(refused[name])})"
            for name in names
        )
        ratios = ", ".join(
            f"{speed['Tiltyard'] / (speed[peer] or 1e-9):.2f} x {peer} (goal {goal:g}: "
            f"{'held' if speed['Tiltyard'] >= goal * speed[peer] else 'MISSED'})"
            for peer, goal in goals.items()
        )
        print("\n    ".join(filter(None, (work, shown, ratios))), flush=True)
        return speed["Tiltyard"]


def _versions(databases: Databases) -> str:
    fast = subprocess.run([_FML / "bin" / "fml", "--version"], capture_output=True, text=True, check=True)
    own, stock = (version(name) for name in ("tiltyard", "mlflow"))
    return f"Tiltyard {own}, {fast.stdout.strip()}, MLflow {stock}, {databases.kind}"


@pytest.mark.bench
def test_tracking_beside_its_peers(targets: dict[str, Target], databases: Databases) -> None:
    """No request of ours is refused; the ratios are for the reader."""
    print(f"\n{_versions(databases)}")
    table = Table(targets)
    fast, stock = "FastTrackML", "MLflow"
    runs = Runs(targets)
    start, least = (2, 1.2) if databases.is_embedded else (1, 1)
    table.add(
        "create run + log-batch of 10 + 10, 8 clients", runs.start, {fast: start, stock: 1}, connections=8, turns=RUNS
    )
    table.add("log-batch of 1,000 metrics, one client", runs.log(1000), {fast: least, stock: 5})
    table.add("log-batch of 100 metrics, 16 clients", runs.log(100), {fast: least, stock: 5}, connections=16)
    for name in NAMES:
        # As PostgreSQL does by itself a minute after such a load: it plans by counts.
        databases.execute(name, "ANALYZE")
    table.add("get run, 16 connections", runs.get, {fast: 1.2, stock: 20}, connections=16)
    at_few = table.add(
        "search, metric and param clause, by a metric, 100 rows", lambda _name: search(), {fast: least, stock: 10}
    )
    table.add("page of 1,000 runs with 10 + 10", lambda _name: page(RUNS), {fast: least, stock: 8})
    for name, target in targets.items():
        run(target, runs.lengthen(name), connections=1, turns=10)
    table.add("metric history of 10,000 points", runs.history, {fast: least, stock: 1})
    for name in ("Tiltyard", stock):
        run(targets[name], register, connections=1, turns=1)
    table.add("get by alias, 16 connections", lambda _name: asks(ALIAS), {stock: 15}, connections=16)
    large = _experiment(targets["Tiltyard"], "large")
    add_runs(databases, "Tiltyard", large, MANY_RUNS)
    at_many = table.add(f"the same search at {MANY_RUNS:,} runs", lambda _name: search(experiment_ids=[large]), {})
    slower = at_few / at_many
    print(f"    {slower:.2f} x the time at {RUNS:,} runs (goal 3: {'held' if slower <= 3 else 'MISSED'})")
    health = table.add("/health, 16 connections", lambda _name: asks(get("/health")), {fast: 0, stock: 0}, 16)
    print(f"    goal {HEALTH_GOAL_PER_S:,} a second: {'held' if health >= HEALTH_GOAL_PER_S else 'MISSED'}")


@pytest.mark.bench
def test_a_frame_of_many_runs(targets: dict[str, Target], databases: Databases) -> None:
    """`mlflow.search_runs` of the stock client gives every run, from either server; the times are for the reader."""
    import mlflow

    print()
    took: dict[str, float] = {}
    for name in ("Tiltyard", "MLflow"):
        experiment_id = _experiment(targets[name], "frame")
        add_runs(databases, name, experiment_id, FRAME_RUNS)
        mlflow.set_tracking_uri(f"http://127.0.0.1:{targets[name].port}")
        started = time.perf_counter()
        frame = mlflow.search_runs([experiment_id], max_results=2 * FRAME_RUNS)
        took[name] = time.perf_counter() - started
        assert (len(frame), frame["metrics.m3"].notna().sum(), frame["run_id"].nunique()) == (FRAME_RUNS,) * 3
        print(f"mlflow.search_runs over {FRAME_RUNS:,} runs, {databases.kind}: {name} {took[name]:.1f} s", flush=True)
    print(f"    {took['MLflow'] / took['Tiltyard']:.2f} x faster, the client's own work counted in")


@pytest.mark.bench
def test_files_of_the_stock_client(targets: dict[str, Target], databases: Databases, tmp_path: Path) -> None:
    """Many small files and a large one reach either server, and come back; the times are for the reader."""
    from mlflow import MlflowClient

    small, large, back = tmp_path / "small", tmp_path / "large.bin", tmp_path / "back"
    for folder in (small, back):
        folder.mkdir()
    for number in range(FILES):
        (small / f"{number}.bin").write_bytes(os.urandom(FILE_BYTES))
    large.write_bytes(os.urandom(1_000_000) * LARGE_FILE_MB)
    clients = {name: MlflowClient(f"http://127.0.0.1:{targets[name].port}") for name in ("Tiltyard", "MLflow")}
    took: dict[str, dict[str, list[float]]] = {}

    def timed(work: str, name: str, do: Callable[[], object]) -> None:
        began = time.perf_counter()
        do()
        took.setdefault(work, {}).setdefault(name, []).append(time.perf_counter() - began)

    for _ in range(ROUNDS):
        for name, client in clients.items():
            run_id = client.create_run("0").info.run_id
            timed(f"{FILES} files of {FILE_BYTES} bytes up", name, lambda: client.log_artifacts(run_id, small))  # noqa: B023
            timed(f"a file of {LARGE_FILE_MB} MB up", name, lambda: client.log_artifact(run_id, large))  # noqa: B023
            timed("and down", name, lambda: client.download_artifacts(run_id, large.name, back))  # noqa: B023
            assert len(client.list_artifacts(run_id)) == FILES + 1
            assert (back / large.name).stat().st_size == large.stat().st_size
    print(f"\n{databases.kind}: files of the stock client")
    for work, by_server in took.items():
        own, stock = (statistics.median(by_server[name]) for name in ("Tiltyard", "MLflow"))
        held = "held" if stock >= FILES_GOAL * own else "MISSED"
        print(
            f"    {work}: Tiltyard {own:.2f} s, MLflow {stock:.2f} s: {stock / own:.2f} x (goal {FILES_GOAL:g}: {held})"
        )


def _experiment(target: Target, name: str) -> str:
    """The id of a new experiment."""
    found: list[str] = []

    async def create(connection: Any) -> None:
        answer = await connection.ask(post(f"{API}/experiments/create", {"name": name}))
        found.append(body_of(answer)["experiment_id"])

    run(target, create, connections=1, turns=1)
    return found[0]
