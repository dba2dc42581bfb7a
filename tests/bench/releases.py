"""Another release of Tiltyard beside this one, the same work on each in turn: is the new one as fast as the old?

`TILTYARD_BENCH_BEFORE` names the Python of an environment that the other release is installed in. Rounds alternate,
so what else the machine does falls on both. Each round starts the services anew: where a process happens to lie in
memory makes it up to 6% quicker or slower than another of the same release. The median of the rounds' ratios counts.
"""

import itertools
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.http_load import load
from tests.bench.load import Target, Turn, run
from tests.bench.peers import Server
from tests.bench.registry.tracking import ALIAS, Runs, asks, page, register, search
from tests.bench.serving.serving_models import arrow_body, body, save

BEFORE = os.environ.get("TILTYARD_BENCH_BEFORE", "")
ROUNDS = int(os.environ.get("TILTYARD_BENCH_ROUNDS", "7"))
ROUND_S = float(os.environ.get("TILTYARD_BENCH_ROUND_S", "1"))
WARM_TURNS = 40
GOAL = 0.97
ARROW = "application/vnd.apache.arrow.stream"
PYTHONS = {"before": BEFORE, "after": sys.executable}

Pair = dict[str, float]


class Ratios:
    """Prints a line for each work: both medians, the ratio and whether it is at least 0.97."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def add(self, work: str, rounds: list[Pair], unit: str = "/s") -> None:
        """One work's rounds, of which more is better."""
        ratio = statistics.median(one["after"] / one["before"] for one in rounds)
        before, after = (statistics.median(one[name] for one in rounds) for name in ("before", "after"))
        verdict = "held" if ratio >= GOAL else "MISSED"
        self.found[work] = ratio
        print(f"{work:52} {before:12,.1f} -> {after:12,.1f} {unit:4} {ratio:6.2f} x  {verdict}", flush=True)


def order(at: int) -> tuple[str, str]:
    """Who begins in a round; it changes."""
    return ("before", "after") if at % 2 else ("after", "before")


def scoring(ratios: Ratios, folder: Path) -> None:
    """Scoring over HTTP, by model and by the number of rows and connections."""
    works: list[tuple[str, str, int, int, bool]] = [
        # Label, model, rows, connections, as Arrow.
        ("iris, one row, 16 connections", "iris", 1, 16, False),
        ("iris, one row, one client", "iris", 1, 1, False),
        ("iris, one row, 512 connections", "iris", 1, 512, False),
        ("forest, one row, 16 connections", "forest", 1, 16, False),
        ("mixed, one row, 16 connections", "mixed", 1, 16, False),
        ("mixed, 1,000 rows, 16 connections", "mixed", 1000, 16, False),
        ("600 columns, one client", "wide", 1, 1, False),
        ("boosting, 10,000 rows as Arrow, 4 connections", "boosting", 10_000, 4, True),
    ]
    for model, group in itertools.groupby(works, lambda work: work[1]):
        directory, rows, _ = save(model, folder)
        asked = [
            (label, arrow_body(rows[:count]) if columnar else body(rows[:count]), connections, columnar)
            for label, _, count, connections, columnar in group
        ]
        rounds: dict[str, list[Pair]] = {}
        for at in range(ROUNDS):
            with _scoring_servers(directory, folder, at) as servers:
                if model == "iris":
                    starts = {name: 1 / one.start_s for name, one in servers.items()}
                    rounds.setdefault("start to ready", []).append(starts)
                for label, data, connections, columnar in asked:
                    kind = ARROW if columnar else "application/json"
                    figures: Pair = {}
                    for name in order(at):
                        port = servers[name].port
                        load(port, data, connections=connections, seconds=0.2, content_type=kind)
                        result = load(port, data, connections=connections, seconds=ROUND_S, content_type=kind)
                        good = result.statuses.get(200, 0)
                        figures[name] = good / max(1, sum(result.statuses.values())) * result.requests_per_s
                    rounds.setdefault(label, []).append(figures)
                if model == "iris":
                    memory = {name: 1000 / one.resident_mb for name, one in servers.items()}
                    rounds.setdefault("memory, the less the better", []).append(memory)
        for label, pairs in rounds.items():
            ratios.add(label, pairs)


@contextmanager
def _scoring_servers(model: Path, folder: Path, at: int) -> Iterator[dict[str, Server]]:
    started: dict[str, Server] = {}
    try:
        for name in order(at):
            command = (PYTHONS[name], "-m", "tiltyard.cli", "serving", "--model", str(model), "--port")
            started[name] = Server(*command, ready="/health", log=folder / f"{name}.log")
        yield started
    finally:
        for server in started.values():
            server.stop()


def tracking(ratios: Ratios, folder: Path, databases: dict[str, str], settle: Callable[[], None]) -> None:
    """The tracking server over two databases of one kind, as two workers; `settle` has them cleaned up for reads."""
    kind = databases["after"].split("+", 1)[0].split(":", 1)[0]
    rounds: dict[str, list[Pair]] = {}
    for at in range(ROUNDS):
        with _tracking_servers(folder, databases, at) as targets:
            runs = Runs(targets)

            def add(work: str, turn: Callable[[str], Turn], connections: int = 1, turns: int | None = None) -> None:
                figures: Pair = {}
                for name in order(at):  # noqa: B023 - called in its round
                    seconds = 600 if turns else ROUND_S
                    # Of a server that has just started each connection to the database is new, and plans anew.
                    run(targets[name], turn(name), connections=connections, turns=WARM_TURNS)
                    measured = run(targets[name], turn(name), connections=connections, seconds=seconds, turns=turns)
                    assert not measured.refused, f"{name} refused {measured.refused} requests of: {work}"
                    figures[name] = measured.per_second
                rounds.setdefault(f"{kind}: {work}", []).append(figures)

            # By number and not by time: what follows reads as many rows from both.
            add("create run + log-batch of 10 + 10, 8 clients", runs.start, 8, turns=300)
            add("log-batch of 1,000 metrics, one client", runs.log(1000))
            add("log-batch of 100 metrics, 16 clients", runs.log(100), 16)
            settle()
            add("get run, 16 connections", runs.get, 16)
            add("search, metric and param clause, 100 rows", lambda _name: search())
            add("page of 1,000 runs", lambda _name: page(1000))
            for name, target in targets.items():
                run(target, runs.lengthen(name), connections=1, turns=10)
            add("metric history of 10,000 points", runs.history)
            if not at:
                for target in targets.values():
                    run(target, register, connections=1, turns=1)
            add("get by alias, 16 connections", lambda _name: asks(ALIAS), 16)
    for work, pairs in rounds.items():
        ratios.add(work, pairs)


@contextmanager
def _tracking_servers(folder: Path, databases: dict[str, str], at: int) -> Iterator[dict[str, Target]]:
    started: dict[str, Server] = {}
    try:
        for name in order(at):
            options = ("--workers", "2", "--database-url", databases[name], "--data-dir", str(folder / name))
            command = (PYTHONS[name], "-m", "tiltyard.cli", "registry", *options, "--port")
            started[name] = Server(*command, ready="/health", log=folder / f"{name}.log")
        yield {name: Target(name, one.port, one.pid) for name, one in started.items()}
    finally:
        for server in started.values():
            server.stop()


def batch(ratios: Ratios, scale: float, rounds: int) -> None:
    """Spark: each release in a session of its own, in turn; for its first rounds the JVM is still compiling."""
    found: dict[str, dict[str, list[float]]] = {}
    for at in range(rounds):
        for name in order(at):
            command = [PYTHONS[name], "-m", "tests.bench.spark.spark_bench", "--ours", f"--scale={scale}", "--rounds=9"]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for line in printed.splitlines():
                work, separator, figure = line.rpartition("\t")
                if separator:
                    found.setdefault(work, {}).setdefault(name, []).append(float(figure))
    for work, figures in found.items():
        pairs = [
            {"before": before, "after": after}
            for before, after in zip(figures["before"], figures["after"], strict=True)
        ]
        ratios.add(f"Spark: {work}", pairs)
