"""The metrics of both services, as their tables list them."""

import re

import pytest
from prometheus_client import Counter, Gauge, Histogram

from tests.house.test_readme import README
from tiltyard.telemetry.metrics import Metric, MetricSet
from tiltyard_registry.telemetry import Metrics
from tiltyard_serving.operations.metrics import Telemetry

SERVICES: dict[str, type[MetricSet]] = {"registry": Metrics, "serving": Telemetry}
_SUFFIX = {Counter: "_total"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_readme_lists_every_metric(service: str) -> None:
    """Name, labels and meaning are those of the table, and no other is listed."""
    listed = re.findall(rf"^\| {service} \| `(tiltyard_\w+)` \| ([^|]*?) *\| ([^|]+) \|$", README, re.M)
    rows = SERVICES[service].table().values()
    assert listed == [(row.name + _SUFFIX.get(row.kind, ""), ", ".join(row.labels), row.help) for row in rows]


@pytest.mark.parametrize("kind", SERVICES.values())
def test_a_row_is_its_metric(kind: type[MetricSet]) -> None:
    """What a process counts is the attribute of the row's name, and each process has its own."""
    one, other = kind(), kind()
    for name, row in kind.table().items():
        assert type(getattr(one, name)) is row.kind
        assert getattr(one, name) is not getattr(other, name)
        assert f"# HELP {row.name}".encode() in one.text()


def test_rows_say_what_their_kinds_need() -> None:
    """Labels, buckets and help come out as they were put in."""

    class Few(MetricSet):
        calls = Metric(Counter, "few_calls", "Calls.", ("how",))
        seconds = Metric(Histogram, "few_seconds", "Seconds.", buckets=(1.0, 2.0))
        open = Metric(Gauge, "few_open", "Open.")

    few = Few()
    few.calls.labels("fast").inc()
    few.seconds.observe(1.5)
    few.open.set(3)
    lines = few.text().decode().splitlines()
    assert {'few_calls_total{how="fast"} 1.0', 'few_seconds_bucket{le="2.0"} 1.0', "few_open 3.0"} <= set(lines)
