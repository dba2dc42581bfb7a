"""What a scoring process is told when it starts: one frozen struct, checked once."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.server.settings import Count, ServiceSettings, Size, port_setting, setting, workers_setting

MIB = 1024 * 1024

_BOUNDS = Bounds()

Isolation = Literal["none", "process"]


def _most(what: str) -> Meta:
    return setting(f"Most {what}; more is answered 413.", ge=1)


class ServingSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of one scoring process.

    `models` holds one `[NAME=]URI` for each model served from the start. A `NAME` makes it the endpoint
    `/serving-endpoints/NAME/invocations`. The first one also answers plain `/invocations`, unless another
    is named `default`.
    """

    port: Annotated[int, port_setting("serving")] = 5001
    workers: Annotated[int, workers_setting("serving")] = 1
    models: Annotated[
        tuple[str, ...],
        setting(
            "A model to serve: models:/NAME@ALIAS, models:/NAME/VERSION or the path of a model directory; NAME makes "
            "it an endpoint of its own. May be repeated; in the variable, blanks separate them.",
            flags="--model",
            env="MODELS",
            metavar="[NAME=]URI",
        ),
    ] = ()
    config: Annotated[
        Path | None,
        setting(
            "A YAML file of endpoints: models by traffic percentage, a shadow.",
            env="SERVING_CONFIG",
            metavar="FILE",
            is_file=True,
        ),
    ] = None
    # A version that does badly in its trial gives way to the one before it again, which stays loaded until then.
    trial_requests: Annotated[
        int, setting("How many first requests a new version is judged by; 0 judges none.", ge=0)
    ] = 100
    trial_max_error_rate: Annotated[
        float, setting("The share of them that may fail before the version gives way to the one before it.", ge=0, le=1)
    ] = 0.5
    # No trial lasts longer.
    trial_s: Annotated[float, Meta(gt=0)] = 600.0
    registry_url: Annotated[
        str | None, setting("The registry; without it, MLFLOW_REGISTRY_URI, else MLFLOW_TRACKING_URI.", metavar="URL")
    ] = None
    cache_dir: Annotated[
        Path | None,
        setting(
            "Where fetched versions are kept, shared by all processes of this machine; by default the user's cache."
        ),
    ] = None
    cache_max_bytes: Annotated[
        Size | None,
        setting(
            "How many bytes that folder may hold; versions that were not used for longest go first. Without it, no "
            "bound."
        ),
    ] = None
    accept_unverified: Annotated[
        bool, setting("Load external versions too, whose files cannot be verified.", flags="--accept-unverified")
    ] = False
    coerce: Annotated[
        Literal["strict", "lenient"],
        setting("lenient casts values that do not fit a column as MLflow's server does, even if it loses something."),
    ] = "strict"
    isolation: Annotated[
        Isolation,
        setting(
            "process gives each model a process of its own, with the environment that its requirements.txt or "
            "python_env.yaml asks for, built by uv when the server's own will not do; entities of --config may differ."
        ),
    ] = "none"
    isolation_memory_bytes: Annotated[
        int, setting("The memory that the process of one isolated model may have; 0 is no limit.", ge=0)
    ] = 0
    trial_load_bytes: Annotated[
        int,
        setting(
            "The memory that the trial load of a model whose files native code reads may take, beside 30 times its "
            "files and 16 MiB per processor; 0 is no limit.",
            ge=0,
        ),
    ] = 1024 * MIB
    end_overdue: Annotated[
        bool,
        setting(
            "Whether a prediction that takes longer than --request-timeout-s is ended, with its isolated model's "
            "process.",
            flags="--end-overdue/--let-overdue",
        ),
    ] = True
    compiled: Annotated[
        bool,
        setting(
            "Whether ensembles of trees may answer compiled, where that is proven to change no answer.",
            flags="--compile/--no-compile",
        ),
    ] = True

    # What one request may bring, and what it may stand for, whatever its size.
    max_body_bytes: Annotated[
        int, setting("The largest request body that is read.", ge=1, env="SERVING_MAX_BODY_BYTES")
    ] = 64 * MIB
    max_inflated_bytes: Annotated[
        Count | None,
        setting(
            "The most bytes that a compressed body may become; more is answered 413. Without it, as --max-body-bytes."
        ),
    ] = None
    max_arriving_bytes: Annotated[
        int,
        setting(
            "What the bodies of all requests under way, and what they were decoded to, may take together in a "
            "process; beyond it large ones are answered 429.",
            ge=1,
            env="SERVING_MAX_ARRIVING_BYTES",
        ),
    ] = 512 * MIB
    max_rows: Annotated[int, _most("rows that one request may have")] = _BOUNDS.rows
    max_columns: Annotated[int, _most("columns, or inputs, that one request may have")] = _BOUNDS.columns
    max_values: Annotated[int, _most("values that a JSON or CSV body may hold, each list and object being one")] = (
        _BOUNDS.values
    )
    max_table_bytes: Annotated[
        int, _most("bytes of memory that the table of a Parquet or Arrow body may stand for")
    ] = _BOUNDS.table_bytes
    max_answer_bytes: Annotated[int, _most("bytes that one answer may have")] = _BOUNDS.answer_bytes
    max_nesting: Annotated[
        int, setting("Most levels of lists and objects within one another in a JSON body; more is answered 400.", ge=1)
    ] = _BOUNDS.nesting
    request_timeout_s: Annotated[float, setting("Seconds until a request without an answer is told so.", gt=0)] = 60.0

    # Bounds of what one model has accepted and not yet answered, and of one merged batch.
    queue_requests: Annotated[
        int, setting("Requests that one model may have waiting before more are answered 429.", ge=1)
    ] = 1024
    queue_rows: Annotated[int, setting("Rows that one model may have waiting before more are answered 429.", ge=1)] = (
        1_000_000
    )
    batch_rows: Annotated[int, setting("Rows that one merged prediction may have.", ge=1)] = 4096

    payload_log_dir: Annotated[
        str | None,
        setting(
            "Write sampled requests and answers as Parquet files into a directory or below s3://bucket/prefix; "
            "without it, nothing is kept.",
            metavar="DIR|URI",
        ),
    ] = None
    payload_log_roll_s: Annotated[
        float, setting("Seconds until a file of them is closed, however little it holds.", gt=0)
    ] = 5.0
    payload_log_sample: Annotated[float, setting("The share of requests that is written.", ge=0, le=1)] = 1.0
    payload_log_redact: Annotated[
        tuple[str, ...],
        setting(
            "A column whose values are written as null; bodies that do not name their columns are then left out.",
            metavar="COLUMN",
        ),
    ] = ()

    on_demand: Annotated[
        tuple[str, ...],
        setting(
            "Registered models that callers may ask for though they are not configured, such as main.clinic.*; they "
            "are loaded when they are asked for.",
            metavar="PATTERN",
        ),
    ] = ()
    on_demand_models: Annotated[
        Count | None,
        setting(
            "How many versions that callers asked for, and that are not configured, are kept loaded at once; "
            "without it, as many as --model-budget-bytes allows, else 8."
        ),
    ] = None
    model_budget_bytes: Annotated[
        int,
        setting(
            "How large they may be together, counted as their files unpacked; the longest unused go first. 0: no "
            "bound.",
            ge=0,
        ),
    ] = 0
    inline_predictions: Annotated[
        bool,
        setting(
            "Whether predictions that are known to take microseconds may be made in the event loop; otherwise each "
            "model predicts in its own thread alone."
        ),
    ] = True
    access_log: Annotated[
        bool, setting("One JSON line per scoring request on standard error.", env="SERVING_ACCESS_LOG")
    ] = False

    # A folder that all workers of a service share, when there are several.
    shared_dir: Path | None = None

    # How long the registry may hold back the answer of one blocking query, and how soon it is asked again
    # after a failure; a plain MLflow server is asked every `poll_interval_s`.
    watch_wait_s: Annotated[float, Meta(gt=0)] = 20.0
    reconnect_s: Annotated[float, Meta(gt=0)] = 0.5
    poll_interval_s: Annotated[float, Meta(gt=0)] = 2.0

    @property
    def bounds(self) -> Bounds:
        """What one request may stand for."""
        return Bounds(**{name: getattr(self, f"max_{name}") for name in Bounds.__struct_fields__})
