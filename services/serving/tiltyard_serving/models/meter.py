"""What one model version counts and times. Its metrics are looked up once and not for every request."""

import time
from collections import Counter
from collections.abc import Callable

from prometheus_client import Counter as CounterMetric

from tiltyard_serving.batching.batch import Batch
from tiltyard_serving.operations.metrics import LoopTick, Telemetry

# A prediction in the event loop that took longer has held up everybody else.
SLOW_INLINE_S = 0.01


class ModelMeter:
    """Counts requests, those of one turn of the event loop together, and predictions."""

    def __init__(self, telemetry: Telemetry, name: str, version: str) -> None:
        labels = self._labels = name, version
        self._requests = telemetry.requests
        self._by_status: dict[int, CounterMetric] = {}
        # When the last request was answered, in milliseconds since 1970; 0 for never.
        self.last_answer_ms = 0
        self._failed_seconds = telemetry.failed_request_seconds.labels(*labels)
        self._request_seconds = telemetry.request_seconds.labels(*labels)
        self._parse_seconds = telemetry.parse_seconds.labels(*labels)
        self._validate_seconds = telemetry.validate_seconds.labels(*labels)
        self._rows = telemetry.rows.labels(*labels)
        self._batch_requests = telemetry.batch_requests.labels(*labels)
        self._predict_seconds = telemetry.predict_seconds.labels(*labels)
        self._queue_seconds = telemetry.queue_seconds.labels(*labels)
        self._encode_seconds = telemetry.encode_seconds.labels(*labels)
        self._slow_inline = telemetry.slow_inline.labels(*labels)
        self._telemetry = telemetry
        telemetry.hold(*labels)
        self._turn = LoopTick(self._count)
        self._parsed_s: list[float] = []
        self._validated_s: list[float] = []
        self._statuses: list[int] = []
        self._answered_s: list[float] = []

    def read(self, parse_s: float, validate_s: float) -> None:
        """Counts one body that became a payload. Called in the event loop."""
        self._parsed_s.append(parse_s)
        self._validated_s.append(validate_s)
        if not self._turn.noted:
            self._turn.note()

    def answered(self, status: int, seconds: float) -> None:
        """Counts one request. Called in the event loop."""
        self._statuses.append(status)
        self._answered_s.append(seconds)
        if not self._turn.noted:
            self._turn.note()

    def predicted(self, batch: Batch) -> None:
        """Counts one prediction. Called from any thread."""
        self._rows.inc(batch.rows)
        self._batch_requests.observe(batch.requests)
        self._predict_seconds.observe(batch.predict_s)
        self._queue_seconds.observe(batch.queue_s)
        self._encode_seconds.observe(batch.encode_s)
        if batch.inline and batch.predict_s > SLOW_INLINE_S:
            self._slow_inline.inc()

    def close(self, *, forget: bool) -> None:
        """Ends it. With `forget` its metrics go, unless the same version is served elsewhere."""
        self._telemetry.release(*self._labels, forget=forget)

    def _count(self) -> None:
        if self._parsed_s:
            self._parse_seconds.observe_all(self._parsed_s)
            self._validate_seconds.observe_all(self._validated_s)
            self._parsed_s.clear()
            self._validated_s.clear()
        if self._statuses:
            self._request_seconds.observe_all(self._answered_s)
            for status, times in Counter(self._statuses).items():
                self._with_status(status).inc(times)
                if status != 200:
                    seconds = zip(self._statuses, self._answered_s, strict=True)
                    self._failed_seconds.inc(sum(each_s for each, each_s in seconds if each == status))
            self.last_answer_ms = time.time_ns() // 1_000_000
            self._answered_s.clear()
            self._statuses.clear()

    def _with_status(self, status: int) -> CounterMetric:
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(*self._labels, str(status))
        return counter


def process_meter(telemetry: Telemetry, name: str, version: str) -> Callable[[str], None]:
    """Counts what happens to the processes of one model version."""
    running, died = telemetry.processes.labels(name, version), telemetry.processes_died.labels(name, version)

    def count(event: str) -> None:
        running.inc(1 if event == "started" else -1)
        if event == "died":
            died.inc()

    return count
