"""What is measured of every request, and its id: one ASGI layer around the whole application."""

import itertools
import time
import uuid
from collections.abc import Callable
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Counter, Gauge, Histogram

from tiltyard.telemetry.log_lines import REQUEST_ID_HEADER, valid_request_id
from tiltyard.telemetry.metrics import Metric, MetricSet
from tiltyard_registry.logs import log_access

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SILENT = frozenset({"/health", "/livez", "/readyz", "/startupz", "/metrics"})


class Metrics(MetricSet):
    """The process's Prometheus metrics."""

    duration = Metric(
        Histogram,
        "tiltyard_http_request_duration_seconds",
        "Time from the first byte of a request to the last of its answer.",
        ("method", "route", "status"),
        buckets=_BUCKETS_S,
    )
    in_flight = Metric(Gauge, "tiltyard_http_requests_in_flight", "Requests being answered.")
    errors = Metric(Counter, "tiltyard_http_errors", "Answers that say no, by class of status.", ("route", "status"))
    connections = Metric(Gauge, "tiltyard_database_connections_in_use", "Database connections that requests hold.")


class Telemetry:
    """Gives every request an id, and counts, times and logs it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, connections_in_use: Callable[[], int]) -> None:
        self._app = app
        self._metrics = metrics
        self._connections_in_use = connections_in_use
        self._request_ids = map(f"{uuid.uuid4().hex[:16]}-{{:x}}".format, itertools.count())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = _given_id(scope) or next(self._request_ids).encode()
        scope["state"]["request_id"] = request_id.decode()
        path, status, size_bytes = scope["path"], 500, 0

        async def observed(message: Message) -> None:
            nonlocal status, size_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID_HEADER, request_id)]
            elif message["type"] == "http.response.body":
                size_bytes += len(message.get("body", b""))
            await send(message)

        metrics, started = self._metrics, time.perf_counter()
        metrics.in_flight.inc()
        try:
            await self._app(scope, receive, observed)
        finally:
            seconds = time.perf_counter() - started
            # Only what exists here becomes a label: a caller cannot make new ones.
            route = str(scope.get("path_template") or "unmatched")
            metrics.in_flight.dec()
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.duration.labels(method, route, status).observe(seconds)
            metrics.connections.set(self._connections_in_use())
            if status >= 400:
                metrics.errors.labels(route, status).inc()
            if path not in _SILENT:
                message = f"{scope['method']} {path} {status}"
                log_access(message, _fields(scope, path, status, seconds, size_bytes, request_id))


def _fields(scope: Any, path: str, status: int, seconds: float, size_bytes: int, request_id: bytes) -> dict[str, Any]:
    client = scope.get("client")
    return {
        "method": scope["method"],
        "path": path,
        "status": status,
        "duration_ms": round(seconds * 1000, 2),
        "size_bytes": size_bytes,
        "client": client[0] if client else None,
        "request_id": request_id.decode(),
    }


def _given_id(scope: Any) -> bytes | None:
    """The caller's `x-request-id`, if it is a valid one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and valid_request_id(value.decode("latin-1")):
            return bytes(value)
    return None
