"""What a service counts and times: a table of rows, each one Prometheus metric."""

from typing import Any, Generic, Self, TypeVar, overload

from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from tiltyard.telemetry.multiprocess import together

M = TypeVar("M", bound=MetricWrapperBase)

# The time of birth of every series doubles what is scraped and tells nothing.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here


class Metric(Generic[M]):
    """One row of a table: what it is, its name, what it tells, and by what it is told apart.

    As an attribute of a `MetricSet` it is the metric itself. `buckets` are a histogram's; `multiprocess` says what
    becomes of a gauge that several processes have.
    """

    def __init__(
        self,
        kind: type[M],
        name: str,
        help: str,
        labels: tuple[str, ...] = (),
        *,
        buckets: tuple[float, ...] | None = None,
        multiprocess: str = "livesum",
    ) -> None:
        self.kind = kind
        self.name = name
        self.help = help
        self.labels = labels
        self._more: dict[str, Any] = {} if buckets is None else {"buckets": buckets}
        if issubclass(kind, Gauge):
            self._more["multiprocess_mode"] = multiprocess

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> M: ...
    def __get__(self, instance: object, owner: type) -> Any:
        """The row, of the class. An instance has its metric in the same place."""
        return self

    def make(self, registry: CollectorRegistry) -> M:
        """The metric."""
        return self.kind(self.name, self.help, self.labels, registry=registry, **self._more)


class MetricSet:
    """The metrics of one process, as its class lists them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for attribute, row in self.table().items():
            # Found before the row itself, so that a metric costs no more than any attribute.
            vars(self)[attribute] = row.make(self.registry)

    @classmethod
    def table(cls) -> dict[str, Metric[Any]]:
        """The rows, by attribute."""
        return {name: row for name, row in vars(cls).items() if isinstance(row, Metric)}

    def text(self) -> bytes:
        """All of it in the text format, over all processes."""
        return generate_latest(together(self.registry))
