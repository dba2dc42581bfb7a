"""Scoring over HTTP, side by side with MLflow's server, a constant answer and the bare model.

MLServer is not measured: its scikit-learn runtime asks for releases of scikit-learn and pandas that do not go
with MLflow's here. One worker each; rounds of those compared take turns, and medians are compared.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import psutil

from tests.bench.http_load import Load, load
from tests.bench.serving_models import body, save
from tests.fixtures.processes import unused_port

ROUNDS = 3
ROUND_S = 2.0
READY_TIMEOUT_S = 120.0
BARE_S = 1.0


class Server:
    """One server on a port of its own, with what its start took."""

    def __init__(self, *arguments: str, ready: str, log: Path) -> None:
        self.port = unused_port()
        began_s = time.perf_counter()
        with log.open("ab") as output:
            command = [sys.executable, *arguments, str(self.port)]
            # MLflow starts uvicorn by name.
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"PATH": path}
            )
        self._wait(ready, began_s + READY_TIMEOUT_S)
        self.start_s = time.perf_counter() - began_s

    @property
    def resident_mb(self) -> float:
        """Memory of its processes."""
        process = psutil.Process(self._process.pid)
        return float(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 2**20)

    def stop(self) -> None:
        """Ends it and what it started."""
        process = psutil.Process(self._process.pid)
        for one in [*process.children(recursive=True), process]:
            one.kill()
        self._process.wait()

    def _wait(self, path: str, until_s: float) -> None:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5):
                    return
            except (OSError, urllib.error.URLError):
                assert self._process.poll() is None, "the server ended"
                assert time.perf_counter() < until_s, "the server is not ready in time"
                time.sleep(0.02)


@contextmanager
def servers(model: Path, folder: Path, *kinds: str) -> Iterator[dict[str, Server]]:
    """The servers of these kinds for one model."""
    commands = {
        "ours": (("-m", "tiltyard.cli", "serving", "--model", str(model), "--port"), "/health"),
        "mlflow": (
            ("-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "-w", "1", "-p"),
            "/ping",
        ),
        "constant": (("-m", "tests.bench.constant"), "/"),
    }
    started: dict[str, Server] = {}
    try:
        for kind in kinds:
            arguments, ready = commands[kind]
            started[kind] = Server(*arguments, ready=ready, log=folder / f"{kind}.log")
        yield started
    finally:
        for server in started.values():
            server.stop()


def rounds(at: dict[str, Server], data: bytes, *, connections: int = 16) -> dict[str, list[Load]]:
    """Loads of the servers, taking turns. Every request has to be answered well."""
    found: dict[str, list[Load]] = {kind: [] for kind in at}
    for _ in range(ROUNDS):
        for kind, server in at.items():
            result = load(server.port, data, connections=connections, seconds=ROUND_S)
            assert set(result.statuses) <= {200}, (kind, result.statuses)
            found[kind].append(result)
    return found


def bare_ms(work: Callable[[], Any]) -> float:
    """The median milliseconds of `work` in this process."""
    times = []
    until_s = time.perf_counter() + BARE_S
    while time.perf_counter() < until_s:
        began_s = time.perf_counter()
        work()
        times.append(time.perf_counter() - began_s)
    return 1000 * median(times)


class Table:
    """Prints a line for each work: the figure that was measured, and the goal."""

    def __init__(self) -> None:
        self.met: dict[str, bool] = {}
        print(f"\n{'work':60} {'measured':>10}  goal")

    def at_least(self, work: str, measured: float, goal: float, unit: str = "x") -> None:
        """A ratio that should be high."""
        self._line(work, measured, f">= {goal:g} {unit}", measured >= goal, unit)

    def at_most(self, work: str, measured: float, goal: float, unit: str) -> None:
        """A time, a size or a share that should be low."""
        self._line(work, measured, f"<= {goal:g} {unit}", measured <= goal, unit)

    def _line(self, work: str, measured: float, goal: str, met: bool, unit: str) -> None:
        self.met[work] = met
        print(f"{work:60} {measured:8.2f} {unit:3} {goal}{'' if met else '  MISSED'}", flush=True)


def _speed(loads: list[Load]) -> float:
    return median(one.requests_per_s for one in loads)


def _time(loads: list[Load], share: float) -> float:
    return median(one.quantile_ms(share) for one in loads)


def run(folder: Path) -> dict[str, bool]:
    """Measures all works, prints the table, and says which goals were met."""
    table = Table()
    for measure in (_iris, _forest, _mixed, _wide):
        measure(table, folder)
    return table.met


def _iris(table: Table, folder: Path) -> None:
    model, rows, bare = save("iris", folder)
    one = body(rows[:1])
    with servers(model, folder, "ours", "mlflow", "constant") as at:
        table.at_most("iris, start to ready", at["ours"].start_s, 3, "s")
        results = rounds(at, one)
        ours = results["ours"]
        table.at_least("iris, one row, to mlflow", _speed(ours) / _speed(results["mlflow"]), 40)
        table.at_most("iris, one row, p99 to mlflow", _time(ours, 0.99) / _time(results["mlflow"], 0.99), 0.1, "x")
        table.at_least("iris, one row, to a constant answer", _speed(ours) / _speed(results["constant"]), 0.5)
        table.at_most("iris, resident memory", at["ours"].resident_mb, 220, "MB")
        over_ms = _time(rounds({"ours": at["ours"]}, one, connections=1)["ours"], 0.5) - bare_ms(
            lambda: bare.predict(rows[:1])
        )
        table.at_most("iris, one client, p50 over the bare model", over_ms, 0.6, "ms")
        many = load(at["ours"].port, one, connections=512, seconds=ROUND_S)
        assert set(many.statuses) <= {200, 503}, many.statuses
        table.at_least("iris, 512 connections to 16", many.requests_per_s / _speed(ours), 1)
        print(
            f"  iris: ours {_speed(ours):.0f} requests/s, mlflow {_speed(results['mlflow']):.0f}, constant "
            f"{_speed(results['constant']):.0f}; p99 at 512 connections {many.quantile_ms(0.99):.1f} ms"
        )


def _forest(table: Table, folder: Path) -> None:
    model, rows, bare = save("forest", folder)
    one = body(rows[:1])
    with servers(model, folder, "ours", "mlflow") as at:
        results = rounds(at, one)
        table.at_least("forest, one row, to mlflow", _speed(results["ours"]) / _speed(results["mlflow"]), 60)
        single = rounds({"ours": at["ours"]}, one, connections=1)["ours"]
        share = _time(single, 0.5) / bare_ms(lambda: bare.predict(rows[:1]))
        table.at_most("forest, one client, p50 to the bare model", share, 0.1, "x")


def _mixed(table: Table, folder: Path) -> None:
    model, rows, bare = save("mixed", folder)
    thousand = body(rows[:1000])
    with servers(model, folder, "ours", "mlflow") as at:
        results = rounds(at, body(rows[:1]))
        table.at_least("mixed, one row, to mlflow", _speed(results["ours"]) / _speed(results["mlflow"]), 25)
        results = rounds(at, thousand)
        table.at_least("mixed, 1,000 rows, to mlflow", _speed(results["ours"]) / _speed(results["mlflow"]), 3)

    def decode_and_predict() -> Any:
        split = json.loads(thousand)["dataframe_split"]
        return bare.predict(pd.DataFrame(split["data"], columns=split["columns"]))

    loop = 1000 / bare_ms(decode_and_predict)
    table.at_least("mixed, 1,000 rows, to a bare loop", _speed(results["ours"]) / loop, 0.85)


def _wide(table: Table, folder: Path) -> None:
    model, rows, bare = save("wide", folder)
    with servers(model, folder, "ours") as at:
        over_ms = _time(rounds(at, body(rows[:1]), connections=1)["ours"], 0.5) - bare_ms(
            lambda: bare.predict(rows[:1])
        )
        table.at_most("600 columns, one client, p50 over the bare model", over_ms, 1.5, "ms")
