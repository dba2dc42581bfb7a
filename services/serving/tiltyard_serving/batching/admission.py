"""Who is accepted to wait for a prediction: so many, and for no longer than a caller would wait."""

import math

from tiltyard.errors import RequestLimitExceeded
from tiltyard_serving.batching.batch import Limits
from tiltyard_serving.batching.latency import LatencyEstimate

_MAX_RETRY_AFTER_S = 30


class Admission:
    """Counts what is accepted and not yet answered, within bounds. Used in one event loop."""

    def __init__(self, name: str, limits: Limits, pace: LatencyEstimate) -> None:
        self.requests = 0
        self.rows = 0
        # Those of them that are larger than a batch.
        self._large_requests = 0
        self._large_rows = 0
        self._name = name
        self._limits = limits
        self._pace = pace

    def enter(self, rows: int, *, merging: bool) -> None:
        """Counts one more item. `merging` says whether what is accepted may share predictions.

        Raises:
            RequestLimitExceeded: there are too many, or the wait would be too long; says when to come again.
        """
        limits = self._limits
        # However large, an item that finds nobody before it may try. What is far from every bound is told at a glance.
        if self.requests and (
            self.requests >= limits.requests
            or self.rows + rows > limits.rows
            or 2 * (self.rows + self.requests) * self._pace.most_s_per_row > limits.wait_s
        ):
            self._check(rows, merging)
        self.requests += 1
        self.rows += rows
        if rows > limits.batch_rows:
            self._large_requests += 1
            self._large_rows += rows

    def leave(self, rows: int) -> None:
        """An item of so many rows is answered."""
        self.requests -= 1
        self.rows -= rows
        if rows > self._limits.batch_rows:
            self._large_requests -= 1
            self._large_rows -= rows

    def _check(self, rows: int, merging: bool) -> None:
        limits = self._limits
        wait_s = self._wait_s(merging)
        if self.requests >= limits.requests:
            over = f"'queue_requests' of {limits.requests}"
        elif self.rows + rows > limits.rows:
            over = f"'queue_rows' of {limits.rows}"
        elif wait_s > limits.wait_s:
            over = f"'request_timeout_s' of {limits.wait_s:g} seconds"
        else:
            return
        raise RequestLimitExceeded(
            f"The model {self._name} has too many requests waiting: {self.requests} requests with "
            f"{self.rows} rows. With this one they would be over the limit {over}.",
            retry_after_s=min(_MAX_RETRY_AFTER_S, max(1, math.ceil(wait_s))),
        )

    def _wait_s(self, merging: bool) -> float:
        """How long what is accepted will take, rather too little than too much: nobody is sent away on a guess."""
        # What is larger than a batch is predicted alone, and whatever is never merged too.
        alone, alone_rows = (self._large_requests, self._large_rows) if merging else (self.requests, self.rows)
        merged, wait_s = self.rows - alone_rows, 0.0
        # Asked for each request: with what is not there it must not take any time.
        if merged >= self._limits.batch_rows:
            whole, merged = divmod(merged, self._limits.batch_rows)
            wait_s = whole * self._pace.least_s(self._limits.batch_rows)
        if merged:
            wait_s += self._pace.least_s(merged)
        if alone:
            wait_s += alone * self._pace.least_s(alone_rows // alone)
        return wait_s
