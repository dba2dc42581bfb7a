"""What the process counts and times, as Prometheus text.

With `PROMETHEUS_MULTIPROC_DIR` set, the numbers of all processes that share the folder are added up.
"""

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# How what was loaded on demand and has gone is named in counters.
EVICTED = "evicted"

disable_created_metrics()  # type: ignore[no-untyped-call]

# Numbers of model versions, by the name of the sample and its labels: the model, the version, and what else there is.
Samples = Mapping[tuple[str, tuple[str, ...]], float]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Durations(Histogram):
    """A histogram that takes many observations for little more than the price of one."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """The same as `observe` for each of them."""
        self._sum.inc(sum(amounts))
        # A bucket holds what is at most its bound; the last one's is infinite.
        for bucket, times in Counts(map(partial(bisect_left, self._upper_bounds), amounts)).items():
            self._buckets[bucket].inc(times)


class Telemetry:
    """The metrics of one scoring process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._held: Counts[tuple[str, str]] = Counts()
        registry = self._registry
        model = ("model", "version")
        self.requests = Counter(
            "tiltyard_serving_requests",
            "Scoring requests answered, by model, version and HTTP status.",
            (*model, "status"),
            registry=registry,
        )
        self.request_seconds = Durations(
            "tiltyard_serving_request_seconds",
            "Seconds from the start of a scoring request to its answer.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.failed_request_seconds = Counter(
            "tiltyard_serving_failed_request_seconds",
            "Seconds of the scoring requests that were not answered with 200.",
            model,
            registry=registry,
        )
        self.rows = Counter("tiltyard_serving_rows", "Rows predicted, by model and version.", model, registry=registry)
        self.batch_requests = Histogram(
            "tiltyard_serving_batch_requests",
            "Requests answered by one prediction.",
            model,
            buckets=_COUNTS,
            registry=registry,
        )
        self.predict_seconds = Histogram(
            "tiltyard_serving_predict_seconds",
            "Seconds of one prediction, of however many requests.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "tiltyard_serving_queue_seconds",
            "Seconds that the first request of a batch waited for its prediction.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.parse_seconds = Durations(
            "tiltyard_serving_parse_seconds",
            "Seconds to make values of the body of a request.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.validate_seconds = Durations(
            "tiltyard_serving_validate_seconds",
            "Seconds to cast and check the values of a request; 0 where the parse does that too.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.encode_seconds = Histogram(
            "tiltyard_serving_encode_seconds",
            "Seconds to write the answers of one prediction.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.slow_inline = Counter(
            "tiltyard_serving_slow_inline_predictions",
            "Predictions that held up the event loop, in which they were made, for over 10 ms.",
            model,
            registry=registry,
        )
        self.payloads_dropped = Counter(
            "tiltyard_serving_payloads_dropped",
            "Sampled requests that the payload log could not keep.",
            registry=registry,
        )
        self.in_flight = Gauge(
            "tiltyard_serving_requests_in_flight",
            "Scoring requests that have begun and are not answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.loads = Counter(
            "tiltyard_serving_model_loads",
            "Loads of model versions, by what was asked for and outcome (loaded or failed).",
            ("served", "outcome"),
            registry=registry,
        )
        self.load_seconds = Histogram(
            "tiltyard_serving_model_load_seconds",
            "Seconds from the decision to serve a version until it takes traffic.",
            ("served",),
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
            registry=registry,
        )
        self.processes = Gauge(
            "tiltyard_serving_model_processes",
            "Running processes of isolated models.",
            model,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.processes_died = Counter(
            "tiltyard_serving_model_processes_died",
            "Processes of isolated models that ended unasked and were started again.",
            model,
            registry=registry,
        )
        self.evictions = Counter(
            "tiltyard_serving_on_demand_evictions",
            "Models loaded on demand that went to make room for others.",
            registry=registry,
        )
        self.on_demand_bytes = Gauge(
            "tiltyard_serving_on_demand_bytes",
            "The size of the models loaded on demand.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.taken_back = Counter(
            "tiltyard_serving_models_taken_back",
            "Versions that gave way to the one before them, because too many of their first requests failed.",
            ("served",),
            registry=registry,
        )
        self.endpoint_requests = Counter(
            "tiltyard_serving_endpoint_requests",
            "Scoring requests by endpoint, and by the model that the endpoint chose.",
            ("endpoint", "served"),
            registry=registry,
        )
        self.shadow_requests = Counter(
            "tiltyard_serving_shadow_requests",
            "Copies of requests for a shadow, by outcome: agreed, disagreed, failed or dropped.",
            ("endpoint", "outcome"),
            registry=registry,
        )
        self.shadow_seconds = Histogram(
            "tiltyard_serving_shadow_seconds",
            "Seconds of one answer of a shadow.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.model_ready = Gauge(
            "tiltyard_serving_model_ready",
            "1 when a version is loaded for what is served, else 0.",
            ("served",),
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.model_stale = Gauge(
            "tiltyard_serving_model_stale",
            "1 when the version that should be served could not be loaded or resolved, else 0.",
            ("served",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.model_warned = Gauge(
            "tiltyard_serving_model_warned",
            "1 when what is served does not answer its own input example, else 0.",
            ("served",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.registry_connected = Gauge(
            "tiltyard_serving_registry_connected",
            "1 while the registry answers what is followed, else 0.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        if not _shared():
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)

    def hold(self, model: str, version: str) -> None:
        """One more user of the metrics of a version."""
        self._held[model, version] += 1

    def release(self, model: str, version: str, *, forget: bool) -> None:
        """One user less. With `forget` the last one takes the version's series along, counters summed up elsewhere."""
        self._held[model, version] -= 1
        if self._held[model, version] <= 0:
            del self._held[model, version]
            if forget:
                self._forget({"model": model, "version": version})

    def forget_served(self, label: str) -> None:
        """Takes away the series of something that is no longer served, and that nobody configured."""
        self._forget({"served": label})

    def _forget(self, labels: dict[str, str]) -> None:
        if _shared():
            # Other processes have their part of a series, and the files that hold them only grow.
            return
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase) and labels.keys() <= set(metric._labelnames):
                if isinstance(metric, Counter):
                    _move(metric, labels)
                metric.remove_by_labels(labels)

    def text(self) -> bytes:
        """All of it in the text format, over all processes."""
        return generate_latest(self._together())

    def samples(self) -> Samples:
        """The numbers of each model version, over all processes, without the buckets of histograms."""
        return {
            (sample.name, _values(sample.labels)): sample.value
            for metric in self._together().collect()
            for sample in metric.samples
            if "model" in sample.labels and "le" not in sample.labels
        }

    def _together(self) -> CollectorRegistry:
        if not _shared():
            return self._registry
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return together


def _values(labels: Mapping[str, str]) -> tuple[str, ...]:
    first = labels["model"], labels["version"]
    return *first, *(value for name, value in labels.items() if name not in ("model", "version", "pid"))


def _move(counter: Counter, labels: dict[str, str]) -> None:
    """Counts what has these labels as of those that have gone, so that no sum falls."""
    names = counter._labelnames
    children: Any = counter._metrics
    for values, child in children.copy().items():
        named = dict(zip(names, values, strict=True))
        if labels.items() <= named.items():
            gone = named | dict.fromkeys(labels, EVICTED)
            counter.labels(**gone).inc(child._value.get())


def _shared() -> bool:
    return bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
