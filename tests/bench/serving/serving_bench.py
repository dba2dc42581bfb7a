"""Scoring over HTTP, side by side with MLflow's server, MLServer, a constant answer and the bare model.

One worker each. Those compared take turns, round by round, so that what else the machine does falls on all of
them; medians of the rounds are compared. `TILTYARD_BENCH_ROUNDS` and `TILTYARD_BENCH_ROUND_S` shorten it.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from tests.bench.http_load import Load, load
from tests.bench.peers import Server, servers
from tests.bench.serving import mlserver
from tests.bench.serving.serving_models import arrow_body, body, save

ROUNDS = int(os.environ.get("TILTYARD_BENCH_ROUNDS", "3"))
ROUND_S = float(os.environ.get("TILTYARD_BENCH_ROUND_S", "2"))
ARROW = "application/vnd.apache.arrow.stream"
# With 512 requests on their way, what the slowest of a hundred may wait.
CROWD_P99_MS = 250.0

Turn = Callable[[], Any]


def asking(
    server: Server,
    data: bytes,
    *,
    connections: int = 16,
    content_type: str = "application/json",
    accept: str = "*/*",
) -> Turn:
    """A turn of one server under load. Every request has to be answered, or to be told when to come again."""

    def turn() -> Load:
        result = load(
            server.port,
            data,
            connections=connections,
            seconds=ROUND_S,
            path=server.path,
            content_type=content_type,
            accept=accept,
        )
        assert set(result.statuses) <= ({200, 429} if connections > 16 else {200}), result.statuses
        assert not result.without_retry_after, "a 429 did not say when to come again"
        return result

    return turn


def bare(work: Callable[[], Any]) -> Turn:
    """A turn of the model alone, in this process; gives the median milliseconds."""

    def turn() -> float:
        times = []
        until_s = time.perf_counter() + ROUND_S / 2
        while time.perf_counter() < until_s:
            began_s = time.perf_counter()
            work()
            times.append(time.perf_counter() - began_s)
        return 1000 * median(times)

    return turn


def rounds(times: int = 1, /, **turns: Turn) -> dict[str, list[Any]]:
    """What came of each turn, taken one after another in every round; `times` as many rounds where little differs."""
    found: dict[str, list[Any]] = {name: [] for name in turns}
    for _ in range(times * ROUNDS):
        for name, turn in turns.items():
            found[name].append(turn())
    return found


def speed(loads: list[Load]) -> float:
    """Good answers per second."""
    return median(one.statuses.get(200, 0) / max(1, sum(one.statuses.values())) * one.requests_per_s for one in loads)


def latency(loads: list[Load], share: float) -> float:
    """Milliseconds within which this share of the requests was answered."""
    return median(one.quantile_ms(share) for one in loads)


class Table:
    """Prints a line for each work: what was measured, the goal, and whether it was met."""

    def __init__(self) -> None:
        self.met: dict[str, bool] = {}
        print(f"\n{'work':58} {'measured':>10}   {'goal':12}")

    def at_least(self, work: str, measured: float, goal: float, unit: str = "x") -> None:
        """A ratio that should be high."""
        self._line(work, measured, f">= {goal:g} {unit}", measured >= goal, unit)

    def at_most(self, work: str, measured: float, goal: float, unit: str) -> None:
        """A time, a size or a share that should be low."""
        self._line(work, measured, f"<= {goal:g} {unit}", measured <= goal, unit)

    def _line(self, work: str, measured: float, goal: str, met: bool, unit: str) -> None:
        self.met[work] = met
        print(f"{work:58} {measured:8.2f} {unit:3} {goal:12} {'met' if met else 'MISSED'}", flush=True)


def run(folder: Path) -> dict[str, bool]:
    """Measures all works, prints the table, and says which goals were met."""
    table = Table()
    for measure in (_iris, _forest, _mixed, _wide, _arrow):
        measure(table, folder)
    return table.met


def _iris(table: Table, folder: Path) -> None:
    model, rows, estimator = save("iris", folder)
    one = body(rows[:1])
    with servers(model, folder, "ours", "mlflow", "constant") as at:
        table.at_most("iris, start to ready", at["ours"].start_s, 3, "s")
        found = rounds(**{kind: asking(server, one) for kind, server in at.items()})
        ours = found["ours"]
        table.at_least("iris, one row, to mlflow", speed(ours) / speed(found["mlflow"]), 40)
        p99 = latency(ours, 0.99) / latency(found["mlflow"], 0.99)
        table.at_most("iris, one row, p99 to mlflow", p99, 0.1, "x")
        table.at_least("iris, one row, to a constant answer", speed(ours) / speed(found["constant"]), 0.5)
        table.at_most("iris, resident memory", at["ours"].resident_mb, 220, "MB")
        alone = rounds(one=asking(at["ours"], one, connections=1), bare=bare(lambda: estimator.predict(rows[:1])))
        over_ms = latency(alone["one"], 0.5) - median(alone["bare"])
        table.at_most("iris, one client, p50 over the bare model", over_ms, 0.6, "ms")
        crowd = rounds(3, few=asking(at["ours"], one), many=asking(at["ours"], one, connections=512))
        table.at_least("iris, 512 connections to 16", speed(crowd["many"]) / speed(crowd["few"]), 1)
        table.at_most("iris, 512 connections, p99", latency(crowd["many"], 0.99), CROWD_P99_MS, "ms")
        print("  requests/s:", ", ".join(f"{kind} {speed(loads):.0f}" for kind, loads in found.items()))
    try:
        with servers(model, folder, "ours", "mlserver") as at:
            v2 = mlserver.body(rows.iloc[0].tolist())
            found = rounds(ours=asking(at["ours"], one), mlserver=asking(at["mlserver"], v2))
            table.at_least("iris, one row, to MLServer", speed(found["ours"]) / speed(found["mlserver"]), 8)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"  MLServer is not measured: it cannot be installed here ({error})")


def _forest(table: Table, folder: Path) -> None:
    model, rows, estimator = save("forest", folder)
    one = body(rows[:1])
    with servers(model, folder, "ours", "mlflow") as at:
        found = rounds(**{kind: asking(server, one) for kind, server in at.items()})
        table.at_least("forest, one row, to mlflow", speed(found["ours"]) / speed(found["mlflow"]), 60)
        alone = rounds(one=asking(at["ours"], one, connections=1), bare=bare(lambda: estimator.predict(rows[:1])))
        share = latency(alone["one"], 0.5) / median(alone["bare"])
        table.at_most("forest, one client, p50 to the bare model", share, 0.1, "x")


def _mixed(table: Table, folder: Path) -> None:
    model, rows, estimator = save("mixed", folder)
    one, thousand = body(rows[:1]), body(rows[:1000])

    def decode_and_predict() -> Any:
        split = json.loads(thousand)["dataframe_split"]
        return estimator.predict(pd.DataFrame(split["data"], columns=split["columns"]))

    with servers(model, folder, "ours", "mlflow") as at:
        found = rounds(**{kind: asking(server, one) for kind, server in at.items()})
        table.at_least("mixed, one row, to mlflow", speed(found["ours"]) / speed(found["mlflow"]), 25)
        turns = {kind: asking(server, thousand) for kind, server in at.items()}
        found = rounds(**turns, bare=bare(decode_and_predict))
        table.at_least("mixed, 1,000 rows, to mlflow", speed(found["ours"]) / speed(found["mlflow"]), 3)
        loop = speed(found["ours"]) * median(found["bare"]) / 1000
        table.at_least("mixed, 1,000 rows, to a bare loop", loop, 0.85)


def _wide(table: Table, folder: Path) -> None:
    model, rows, estimator = save("wide", folder)
    with servers(model, folder, "ours") as at:
        one = asking(at["ours"], body(rows[:1]), connections=1)
        found = rounds(one=one, bare=bare(lambda: estimator.predict(rows[:1])))
        over_ms = latency(found["one"], 0.5) - median(found["bare"])
        table.at_most("600 columns, one client, p50 over the bare model", over_ms, 1.5, "ms")


def _arrow(table: Table, folder: Path) -> None:
    model, rows, estimator = save("boosting", folder)
    with servers(model, folder, "ours") as at:
        data = arrow_body(rows)
        turns = {
            answer: asking(at["ours"], data, connections=4, content_type=ARROW, accept=accept)
            for answer, accept in (("Arrow", ARROW), ("JSON", "application/json"))
        }
        found = rounds(3, **turns, bare=bare(lambda: estimator.predict(rows)))
        for answer in turns:
            share = speed(found[answer]) * median(found["bare"]) / 1000
            table.at_least(f"boosting, 10,000 rows as Arrow, to bare, answer {answer}", share, 0.9)
