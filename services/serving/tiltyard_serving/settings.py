"""What a scoring process is told when it starts: one frozen struct, checked once."""

from pathlib import Path
from typing import Literal

import msgspec

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.telemetry.log_style import LogStyle

MIB = 1024 * 1024

_BOUNDS = Bounds()
_AT_LEAST_1 = (
    "max_body_bytes",
    "max_inflated_bytes",
    "max_arriving_bytes",
    "max_rows",
    "max_columns",
    "max_values",
    "max_table_bytes",
    "max_answer_bytes",
    "queue_requests",
    "queue_rows",
    "batch_rows",
    "on_demand_models",
)

Isolation = Literal["none", "process"]


class ServingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one scoring process.

    `models` holds one `[NAME=]URI` for each model served from the start. A `NAME` makes it the endpoint
    `/serving-endpoints/NAME/invocations`. The first one also answers plain `/invocations`, unless another
    is named `default`.
    """

    models: tuple[str, ...] = ()
    # A YAML file of endpoints: several models by traffic percentage, a shadow.
    config: Path | None = None
    # None: TILTYARD_REGISTRY_URL, else MLFLOW_REGISTRY_URI, else MLFLOW_TRACKING_URI.
    registry_url: str | None = None
    cache_dir: Path | None = None
    # What the folder of fetched versions may hold; 0: no bound. None: TILTYARD_CACHE_MAX_BYTES, else no bound.
    cache_max_bytes: int | None = None
    # Load versions without a manifest, whose files nobody can verify.
    accept_unverified: bool = False

    # Where the command listens, and with how many processes.
    host: str = "127.0.0.1"
    port: int = 5001
    workers: int = 1
    # Host names, besides those of loopback, under which requests may come. A server that listens beyond loopback
    # and was given none answers to every name.
    allowed_hosts: tuple[str, ...] = ()

    # "lenient" restores the peer's lossy casts of JSON values.
    coerce: Literal["strict", "lenient"] = "strict"
    request_timeout_s: float = 60.0

    # What one request may bring, and what it may stand for, whatever its size; more is answered 413.
    max_body_bytes: int = 64 * MIB
    # What a compressed body may become; None: as much as a body may have.
    max_inflated_bytes: int | None = None
    # What the bodies of all requests under way may take together; large ones beyond it are answered 429.
    max_arriving_bytes: int = 512 * MIB
    max_rows: int = _BOUNDS.rows
    max_columns: int = _BOUNDS.columns
    max_values: int = _BOUNDS.values
    max_table_bytes: int = _BOUNDS.table_bytes
    max_answer_bytes: int = _BOUNDS.answer_bytes
    max_nesting: int = _BOUNDS.nesting

    # Bounds of what one model has accepted and not yet answered, and of one merged batch.
    queue_requests: int = 1024
    queue_rows: int = 1_000_000
    batch_rows: int = 4096

    # A version whose share of failed requests among its first `trial_requests` is over `trial_max_error_rate`
    # gives way to the one before it again. 0 requests: no trial.
    trial_requests: int = 100
    trial_max_error_rate: float = 0.5
    # No trial lasts longer; until it ends, the version before stays loaded.
    trial_s: float = 600.0

    # Where sampled requests and answers go as Parquet files, a directory or the URI of an object store; None: nowhere.
    # A file is closed after `payload_log_roll_s` at the latest. Redacted columns are null there.
    payload_log_dir: str | None = None
    payload_log_roll_s: float = 5.0
    payload_log_sample: float = 1.0
    payload_log_redact: tuple[str, ...] = ()

    # "process": each model predicts in a process of its own, with the environment that it asks for.
    isolation: Isolation = "none"
    # How much memory of its own such a process may have; 0: as much as there is.
    isolation_memory_bytes: int = 0
    # Whether a prediction there that takes longer than `request_timeout_s` is ended together with its process.
    end_overdue: bool = True

    # Whether ensembles of trees may answer compiled, where that is proven to change no answer.
    compiled: bool = True

    # Registered models that callers may name though nobody configured them, as patterns of their full names.
    on_demand: tuple[str, ...] = ()
    # How many versions that callers named, and nobody configured, are kept loaded at once; None: as many as fit in
    # the budget, else 8.
    on_demand_models: int | None = None
    # How large they may be together; 0: no bound.
    model_budget_bytes: int = 0

    # One line of the log for each scoring request.
    access_log: bool = False
    # Whether what is known to take microseconds may be predicted in the event loop; else always in the model's thread.
    inline_predictions: bool = True

    logs: LogStyle = LogStyle()

    # A folder that all workers of a service share, when there are several.
    shared_dir: Path | None = None

    # How long the registry may hold back the answer of one blocking query, and how soon it is asked again
    # after a failure; a plain MLflow server is asked every `poll_interval_s`.
    watch_wait_s: float = 20.0
    reconnect_s: float = 0.5
    poll_interval_s: float = 2.0

    @property
    def bounds(self) -> Bounds:
        """What one request may stand for."""
        return Bounds(
            rows=self.max_rows,
            columns=self.max_columns,
            values=self.max_values,
            table_bytes=self.max_table_bytes,
            answer_bytes=self.max_answer_bytes,
            nesting=self.max_nesting,
        )

    def __post_init__(self) -> None:
        for name in _AT_LEAST_1:
            if (value := getattr(self, name)) is not None and value < 1:
                raise InvalidParameterValue(f"Setting '{name}' must be at least 1, got {getattr(self, name)}.")
        for name in ("trial_requests", "isolation_memory_bytes", "model_budget_bytes"):
            if getattr(self, name) < 0:
                raise InvalidParameterValue(f"Setting '{name}' must be at least 0, got {getattr(self, name)}.")
        if not 0 <= self.payload_log_sample <= 1:
            raise InvalidParameterValue(
                f"Setting 'payload_log_sample' must be from 0 to 1, got {self.payload_log_sample:g}."
            )
        if not 0 <= self.trial_max_error_rate <= 1:
            raise InvalidParameterValue(
                f"Setting 'trial_max_error_rate' must be from 0 to 1, got {self.trial_max_error_rate:g}."
            )
        if self.payload_log_roll_s <= 0:
            raise InvalidParameterValue(
                f"Setting 'payload_log_roll_s' must be above 0, got {self.payload_log_roll_s:g}."
            )
        for name in ("request_timeout_s", "watch_wait_s", "reconnect_s", "poll_interval_s", "trial_s"):
            if getattr(self, name) <= 0:
                raise InvalidParameterValue(f"Setting '{name}' must be above 0, got {getattr(self, name)}.")
