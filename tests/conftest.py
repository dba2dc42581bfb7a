"""What every test can ask for, and the rule that CI skips nothing."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings

# Each after those it imports from, so that pytest rewrites its asserts.
pytest_plugins = [
    "tests.fixtures.order",
    "tests.fixtures.checkout",
    "tests.fixtures.processes",
    "tests.fixtures.artifacts",
    "tests.fixtures.postgres",
    "tests.fixtures.databases",
    "tests.fixtures.services",
    "tests.fixtures.mlflow_server",
]


# Threads that have nothing to do spin for a while, in the belief that the processor is theirs alone. Here several
# processes and what they start share it, and a small fit takes ten times as long. The libraries read it when they are
# loaded, also in what tests start; a service under test is told nothing of it (tests/fixtures/services.py).
THREADS = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("markexpr") != "bench":
        for name, value in THREADS.items():
            os.environ.setdefault(name, value)
    # A test that is slow once, on a busy machine or while something is imported, is not wrong.
    settings.register_profile("unhurried", settings.default, deadline=None)
    settings.load_profile("unhurried")
    config.addinivalue_line("markers", "slow: takes over ten seconds; `make check` leaves it out")


def pytest_collection_finish() -> None:
    # Thousands of tests and what they import stay to the end: the collector need not walk through them again and again.
    gc.collect()
    gc.freeze()


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    yield
    for name in {*before, *os.environ}:
        if name.startswith(("MLFLOW_", "TILTYARD_")) and os.environ.get(name) != before.get(name):
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@pytest.fixture(autouse=True, scope="module")
def environment_of_the_module() -> Iterator[None]:
    """What a module told the clients, MLflow by itself included, is forgotten after the module."""
    with _environment_kept():
        yield
        if "mlflow.tracking" in sys.modules:
            # It remembers where it was sent outside the environment, too.
            import mlflow

            mlflow.set_tracking_uri("")
            mlflow.set_registry_uri("")


@pytest.fixture(autouse=True)
def environment_of_the_test(environment_of_the_module: None) -> Iterator[None]:
    """The same for each test: MLflow's client writes its active experiment into the environment."""
    with _environment_kept():
        yield


@pytest.fixture(autouse=True)
def signals_of_the_test() -> Iterator[None]:
    """A test that runs the command of a service in this process leaves its handlers of signals to nobody."""
    before = {sig: signal.getsignal(sig) for sig in (signal.SIGTERM, signal.SIGINT)}
    yield
    for sig, handler in before.items():
        if signal.getsignal(sig) is not handler:
            signal.signal(sig, handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """In CI a skipped test is a failed one: a backend that is missing there would hide what it breaks."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
