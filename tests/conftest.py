"""What every test can ask for, and the rule that CI skips nothing."""

import os

import pytest

# Each after those it imports from, so that pytest rewrites its asserts.
pytest_plugins = [
    "tests.fixtures.processes",
    "tests.fixtures.artifacts",
    "tests.fixtures.postgres",
    "tests.fixtures.databases",
    "tests.fixtures.services",
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes over ten seconds; `make check` leaves it out")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """In CI a skipped test is a failed one: a backend that is missing there would hide what it breaks."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
