"""The metrics of both services, as their tables list them."""

import json
import re
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, Histogram

from tests.house.test_readme import HOUSE, README
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


DASHBOARD: dict[str, Any] = json.loads((HOUSE / "deploy/grafana/dashboards/tiltyard.json").read_text())
SAMPLES = {
    f"{row.name}{suffix}": {*row.labels, "le"}
    for kind in SERVICES.values()
    for row in kind.table().values()
    for suffix in ({Counter: ("_total",), Gauge: ("",)}.get(row.kind, ("_bucket", "_sum", "_count")))
}


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_the_dashboard_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    """Each metric of an expression is one that a service gives, told apart by labels that it has."""
    for target in panel["targets"]:
        names = set(re.findall(r"tiltyard_\w+", target["expr"]))
        assert names
        assert names <= SAMPLES.keys()
        by = re.findall(r"\w+", ",".join(re.findall(r"by \(([^)]*)\)", target["expr"])))
        shown = re.findall(r"{{(\w+)}}", target["legendFormat"])
        assert set(shown) | {"le"} >= set(by)
        assert all(set(by) | set(shown) <= SAMPLES[name] for name in names)


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
