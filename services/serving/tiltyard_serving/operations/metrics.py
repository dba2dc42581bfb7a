"""What the process counts and times, as Prometheus text."""

import asyncio
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from tiltyard.telemetry.metrics import Metric, MetricSet
from tiltyard.telemetry.multiprocess import is_shared, together

T = TypeVar("T", bound=Histogram)

# How what was loaded on demand and has gone is named in counters, and the version of what was replaced long ago.
EVICTED = "evicted"
# So many versions that were replaced can still be compared with what came after them. Each has some 100 series.
_KEPT_VERSIONS = 32

# Numbers of model versions, by the name of the sample and its labels: the model, the version, and what else there is.
Samples = Mapping[tuple[str, tuple[str, ...]], float]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_MODEL = ("model", "version")
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Durations(Histogram):
    """A histogram that takes many observations for little more than the price of one."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """The same as `observe` for each of them."""
        self._sum.inc(sum(amounts))
        # A bucket holds what is at most its bound; the last one's is infinite.
        for bucket, times in Counts(map(partial(bisect_left, self._upper_bounds), amounts)).items():
            self._buckets[bucket].inc(times)


def _timing(kind: type[T], name: str, help: str) -> Metric[T]:
    """A histogram of seconds of each model version."""
    return Metric(kind, name, help, _MODEL, buckets=_SECONDS)


class Telemetry(MetricSet):
    """The metrics of one scoring process."""

    requests = Metric(
        Counter,
        "tiltyard_serving_requests",
        "Scoring requests answered, by model, version and HTTP status.",
        (*_MODEL, "status"),
    )
    request_seconds = _timing(
        Durations, "tiltyard_serving_request_seconds", "Seconds from the start of a scoring request to its answer."
    )
    failed_request_seconds = Metric(
        Counter,
        "tiltyard_serving_failed_request_seconds",
        "Seconds of the scoring requests that were not answered with 200.",
        _MODEL,
    )
    rows = Metric(Counter, "tiltyard_serving_rows", "Rows predicted, by model and version.", _MODEL)
    batch_requests = Metric(
        Histogram, "tiltyard_serving_batch_requests", "Requests answered by one prediction.", _MODEL, buckets=_COUNTS
    )
    predict_seconds = _timing(
        Histogram, "tiltyard_serving_predict_seconds", "Seconds of one prediction, of however many requests."
    )
    queue_seconds = _timing(
        Histogram,
        "tiltyard_serving_queue_seconds",
        "Seconds that the first request of a batch waited for its prediction.",
    )
    parse_seconds = _timing(
        Durations, "tiltyard_serving_parse_seconds", "Seconds to make values of the body of a request."
    )
    validate_seconds = _timing(
        Durations,
        "tiltyard_serving_validate_seconds",
        "Seconds to cast and check the values of a request; 0 where the parse does that too.",
    )
    encode_seconds = _timing(
        Histogram, "tiltyard_serving_encode_seconds", "Seconds to write the answers of one prediction."
    )
    slow_inline = Metric(
        Counter,
        "tiltyard_serving_slow_inline_predictions",
        "Predictions that held up the event loop, in which they were made, for over 10 ms.",
        _MODEL,
    )
    payloads_dropped = Metric(
        Counter, "tiltyard_serving_payloads_dropped", "Sampled requests that the payload log could not keep."
    )
    in_flight = Metric(
        Gauge, "tiltyard_serving_requests_in_flight", "Scoring requests that have begun and are not answered."
    )
    loads = Metric(
        Counter,
        "tiltyard_serving_model_loads",
        "Loads of model versions, by what was asked for and outcome (loaded or failed).",
        ("served", "outcome"),
    )
    load_seconds = Metric(
        Histogram,
        "tiltyard_serving_model_load_seconds",
        "Seconds from the decision to serve a version until it takes traffic.",
        ("served",),
        buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
    )
    processes = Metric(Gauge, "tiltyard_serving_model_processes", "Running processes of isolated models.", _MODEL)
    processes_died = Metric(
        Counter,
        "tiltyard_serving_model_processes_died",
        "Processes of isolated models that ended unasked and were started again.",
        _MODEL,
    )
    evictions = Metric(
        Counter, "tiltyard_serving_on_demand_evictions", "Models loaded on demand that went to make room for others."
    )
    on_demand_bytes = Metric(Gauge, "tiltyard_serving_on_demand_bytes", "The size of the models loaded on demand.")
    taken_back = Metric(
        Counter,
        "tiltyard_serving_models_taken_back",
        "Versions that gave way to the one before them, because too many of their first requests failed.",
        ("served",),
    )
    endpoint_requests = Metric(
        Counter,
        "tiltyard_serving_endpoint_requests",
        "Scoring requests by endpoint, and by the model that the endpoint chose.",
        ("endpoint", "served"),
    )
    shadow_requests = Metric(
        Counter,
        "tiltyard_serving_shadow_requests",
        "Copies of requests for a shadow, by outcome: agreed, disagreed, failed or dropped.",
        ("endpoint", "outcome"),
    )
    shadow_seconds = Metric(
        Histogram,
        "tiltyard_serving_shadow_seconds",
        "Seconds of one answer of a shadow.",
        ("endpoint",),
        buckets=_SECONDS,
    )
    model_ready = Metric(
        Gauge,
        "tiltyard_serving_model_ready",
        "1 when a version is loaded for what is served, else 0.",
        ("served",),
        multiprocess="livemin",
    )
    model_stale = Metric(
        Gauge,
        "tiltyard_serving_model_stale",
        "1 when the version that should be served could not be loaded or resolved, else 0.",
        ("served",),
        multiprocess="livemax",
    )
    model_warned = Metric(
        Gauge,
        "tiltyard_serving_model_warned",
        "1 when what is served does not answer its own input example, else 0.",
        ("served",),
        multiprocess="livemax",
    )
    registry_connected = Metric(
        Gauge,
        "tiltyard_serving_registry_connected",
        "1 while the registry answers what is followed, else 0.",
        multiprocess="livemin",
    )

    def __init__(self) -> None:
        super().__init__()
        self._held: Counts[tuple[str, str]] = Counts()
        # Versions that nobody uses any more, and whose series are still there; the first went first.
        self._gone: dict[tuple[str, str], None] = {}
        if not is_shared():
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)

    def hold(self, model: str, version: str) -> None:
        """One more user of the metrics of a version."""
        self._held[model, version] += 1
        self._gone.pop((model, version), None)

    def release(self, model: str, version: str, *, forget: bool) -> None:
        """One user less. With `forget` the last one takes the version's series along, counters summed up elsewhere.

        Without it they stay until many others have gone.
        """
        self._held[model, version] -= 1
        if self._held[model, version] > 0:
            return
        del self._held[model, version]
        if forget:
            self._forget({"model": model, "version": version}, {"model": EVICTED, "version": EVICTED})
            return
        self._gone[model, version] = None
        if len(self._gone) > _KEPT_VERSIONS:
            model, version = next(iter(self._gone))
            del self._gone[model, version]
            self._forget({"model": model, "version": version}, {"version": EVICTED})

    def forget_served(self, label: str) -> None:
        """Takes away the series of something that is no longer served, and that nobody configured."""
        self._forget({"served": label}, {"served": EVICTED})

    def _forget(self, labels: dict[str, str], gone: dict[str, str]) -> None:
        if is_shared():
            # Other processes have their part of a series, and the files that hold them only grow.
            return
        for attribute, row in self.table().items():
            if labels.keys() <= set(row.labels):
                metric = getattr(self, attribute)
                if isinstance(metric, Counter):
                    _move(metric, labels, gone)
                metric.remove_by_labels(labels)

    def samples(self) -> Samples:
        """The numbers of each model version, over all processes, without the buckets of histograms."""
        return {
            (sample.name, _values(sample.labels)): sample.value
            for metric in together(self.registry).collect()
            for sample in metric.samples
            if "model" in sample.labels and "le" not in sample.labels
        }


def _values(labels: Mapping[str, str]) -> tuple[str, ...]:
    first = labels["model"], labels["version"]
    return *first, *(value for name, value in labels.items() if name not in ("model", "version", "pid"))


def _move(counter: Counter, labels: dict[str, str], gone: dict[str, str]) -> None:
    """Counts what has these labels with those of what has gone, so that no sum falls."""
    names = counter._labelnames
    children: Any = counter._metrics
    for values, child in children.copy().items():
        named = dict(zip(names, values, strict=True))
        if labels.items() <= named.items():
            counter.labels(**named | gone).inc(child._value.get())


class LoopTick:
    """Has `count` called at the end of the turn of the event loop in which something was noted.

    A metric is locked for each change, and changing those of one request costs as much as decoding it: what
    belongs to requests is noted, and counted for all of them at once. Used in the event loop.
    """

    __slots__ = ("_count", "noted")

    def __init__(self, count: Callable[[], object]) -> None:
        self.noted = False
        self._count = count

    def note(self) -> None:
        """To be called when nothing is `noted` yet."""
        self.noted = True
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self.noted = False
        self._count()
