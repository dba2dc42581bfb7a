"""A long day in short: steady load, promotions, callers who leave, a registry that dies, and the end by SIGTERM."""

import itertools
import os
import signal
import time
from pathlib import Path
from statistics import median

import psutil
import pytest

from tests.fixtures.services import Service, StartService
from tests.fixtures.waiting import PATIENCE_S, wait_until
from tests.serving.models.test_following import register
from tests.serving.soak import Soak, numbered
from tiltyard.client import Client

NAME = "main.ml.soaked"
SOAK_S = float(os.environ.get("SOAK_S", "300"))


@pytest.mark.parametrize(
    ("seconds", "per_second", "each_s", "live_s"),
    [(6, 200, 0.5, PATIENCE_S), pytest.param(SOAK_S, 500, 2.0, 2.0, marks=pytest.mark.bench)],
    ids=["short", "long"],
)
def test_nobody_notices_a_bad_day(
    registry: StartService, serving: StartService, tmp_path: Path, seconds: float, per_second: float,
    each_s: float, live_s: float,
) -> None:  # fmt: skip
    """No request fails, each answer is that of the version in its header; the long one has promotions live within 2 s.

    Half-way the registry is killed; at the end the scoring service gets SIGTERM under load and drops nothing.
    """
    store = registry()
    with Client(store.url) as client:
        for number in (1, 2, 3):
            numbered(tmp_path / str(number), number)
            assert register(client, tmp_path / str(number), NAME) == number
        client.set_alias(NAME, "champion", 1)
        options = ["--registry-url", store.url, "--drain-delay-s", "1"]
        service = serving("--model", f"models:/{NAME}@champion", *options)
        lags_s: list[float] = []
        with Soak(service.port, per_second=per_second) as soak:
            versions = itertools.cycle("231")
            soak.live_within("1", time.monotonic())
            early_bytes = psutil.Process(service.pid).memory_info().rss

            def promote(until_s: float) -> None:
                while time.monotonic() < until_s:
                    lags_s.append(_promote(client, soak, next(versions)))
                    time.sleep(max(0.0, each_s - lags_s[-1]))

            began_s = time.monotonic()
            promote(began_s + seconds / 2)
            answered = soak.answers.total()
            store.kill()
            enough = answered + per_second * min(10.0, seconds / 6)
            wait_until(lambda: soak.answers.total() > enough)
            store.start()
            back_s = _promote(client, soak, next(versions))
            promote(began_s + seconds)
            grown_bytes = psutil.Process(service.pid).memory_info().rss - early_bytes
            _end_under_load(service, soak)
    assert soak.failures == []
    assert min(soak.answers[version] for version in "123") > 0
    assert soak.left_early > 0
    assert max(back_s, *lags_s) < live_s
    print(f"\n{soak}\n{len(lags_s)} promotions: live after {median(lags_s):.3f} s, at most {max(lags_s):.3f} s,")
    print(f"{back_s:.3f} s after the registry's return; memory grew by {grown_bytes / 1e6:.0f} MB")


def _promote(client: Client, soak: Soak, version: str) -> float:
    """Seconds until the version is live for callers."""
    soak.forget(version)
    moved_s = time.monotonic()
    client.set_alias(NAME, "champion", version)
    return soak.live_within(version, moved_s)


def _end_under_load(service: Service, soak: Soak) -> None:
    """SIGTERM; once the health check says no, as a balancer would see, no more are sent, and all sent are answered."""
    service.signal(signal.SIGTERM)
    wait_until(lambda: not service.healthy())
    soak.stop()
    assert service.wait() == 0
