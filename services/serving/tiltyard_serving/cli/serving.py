"""`tiltyard serving`: the scoring service alone."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tiltyard.cli import options
from tiltyard.server.arrivals import ConnectionTimeouts
from tiltyard.server.process import Drain, work
from tiltyard.server.service_pool import ServicePool
from tiltyard.server.sockets import Address
from tiltyard.server.supervisor import run
from tiltyard_serving.settings import ServingSettings

_DEFAULT = ServingSettings()


def serving_pool(
    address: Address, workers: int, *, drain: Drain, timeouts: ConnectionTimeouts, **settings: Any
) -> ServicePool:
    """The workers of a scoring service, ready to run: its port bound.

    Raises:
        click.ClickException: the port is taken.
        InvalidParameterValue: a setting is refused.
    """
    shared = Path(tempfile.mkdtemp(prefix="tiltyard-serving-endpoints-")) if workers > 1 else None
    try:
        told = ServingSettings(host=address.host, port=address.port, workers=workers, shared_dir=shared, **settings)
        pool = ServicePool(work("serving", "tiltyard_serving.app:create_app", told, drain, timeouts), address, workers)
    except BaseException:
        if shared is not None:
            shared.rmdir()
        raise
    if shared is not None:
        pool.folders.append(shared)
    return pool


def _bound(flag: str, default: int, what: str) -> Callable[[Any], Any]:
    return options.option(
        flag, type=click.IntRange(1), default=default, show_default=True, help=f"Most {what}; more is answered 413."
    )


@click.command()
@options.listening
@options.port("--port", "serving", 5001)
@options.workers("--workers", "serving")
@options.allowed_hosts
@options.models
@options.option(
    "--config",
    env="SERVING_CONFIG",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A YAML file of endpoints: models by traffic percentage, a shadow.",
)
@options.option(
    "--trial-requests",
    type=click.IntRange(0),
    default=_DEFAULT.trial_requests,
    show_default=True,
    help="How many first requests a new version is judged by; 0 judges none.",
)
@options.option(
    "--trial-max-error-rate",
    type=click.FloatRange(0, 1),
    default=_DEFAULT.trial_max_error_rate,
    show_default=True,
    help="The share of them that may fail before the version gives way to the one before it.",
)
@options.option(
    "--registry-url",
    metavar="URL",
    help="The registry; without it, MLFLOW_REGISTRY_URI, else MLFLOW_TRACKING_URI.",
)
@options.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where fetched versions are kept, shared by all processes of this machine; by default the user's cache.",
)
@options.option(
    "--cache-max-bytes",
    type=click.IntRange(0),
    help="How many bytes that folder may hold; versions that were not used for longest go first. Without it, no bound.",
)
@options.option(
    "--accept-unverified",
    is_flag=True,
    help="Load external versions too, whose files cannot be verified.",
)
@options.option(
    "--coerce",
    type=click.Choice(["strict", "lenient"]),
    default=_DEFAULT.coerce,
    show_default=True,
    help="lenient casts values that do not fit a column as MLflow's server does, even if it loses something.",
)
@options.option(
    "--isolation",
    type=click.Choice(["none", "process"]),
    default=_DEFAULT.isolation,
    show_default=True,
    help="process gives each model a process of its own, with the environment that its requirements.txt or "
    "python_env.yaml asks for, built by uv when the server's own will not do; entities of --config may differ.",
)
@options.option(
    "--isolation-memory-bytes",
    type=click.IntRange(0),
    default=_DEFAULT.isolation_memory_bytes,
    show_default=True,
    help="The memory that the process of one isolated model may have; 0 is no limit.",
)
@options.option(
    "--end-overdue/--let-overdue",
    "end_overdue",
    default=_DEFAULT.end_overdue,
    show_default=True,
    help="Whether a prediction that takes longer than --request-timeout-s is ended, with its isolated model's process.",
)
@options.option(
    "--compile/--no-compile",
    "compiled",
    default=_DEFAULT.compiled,
    show_default=True,
    help="Whether ensembles of trees may answer compiled, where that is proven to change no answer.",
)
@options.option(
    "--max-body-bytes",
    env="SERVING_MAX_BODY_BYTES",
    type=click.IntRange(1),
    default=_DEFAULT.max_body_bytes,
    show_default=True,
    help="The largest request body that is read.",
)
@options.option(
    "--max-inflated-bytes",
    type=click.IntRange(1),
    help="The most bytes that a compressed body may become; more is answered 413. Without it, as --max-body-bytes.",
)
@options.option(
    "--max-arriving-bytes",
    env="SERVING_MAX_ARRIVING_BYTES",
    type=click.IntRange(1),
    default=_DEFAULT.max_arriving_bytes,
    show_default=True,
    help="What the bodies of all requests under way may take together in a process; beyond it large ones are "
    "answered 429.",
)
@_bound("--max-rows", _DEFAULT.max_rows, "rows that one request may have")
@_bound("--max-columns", _DEFAULT.max_columns, "columns, or inputs, that one request may have")
@_bound("--max-values", _DEFAULT.max_values, "values that a JSON or CSV body may hold, each list and object being one")
@_bound(
    "--max-table-bytes",
    _DEFAULT.max_table_bytes,
    "bytes of memory that the table of a Parquet or Arrow body may stand for",
)
@_bound("--max-answer-bytes", _DEFAULT.max_answer_bytes, "bytes that one answer may have")
@options.option(
    "--max-nesting",
    type=click.IntRange(1),
    default=_DEFAULT.max_nesting,
    show_default=True,
    help="Most levels of lists and objects within one another in a JSON body; more is answered 400.",
)
@options.option(
    "--request-timeout-s",
    type=click.FloatRange(0, min_open=True),
    default=_DEFAULT.request_timeout_s,
    show_default=True,
    help="Seconds until a request without an answer is told so.",
)
@options.option(
    "--queue-requests",
    type=click.IntRange(1),
    default=_DEFAULT.queue_requests,
    show_default=True,
    help="Requests that one model may have waiting before more are answered 429.",
)
@options.option(
    "--queue-rows",
    type=click.IntRange(1),
    default=_DEFAULT.queue_rows,
    show_default=True,
    help="Rows that one model may have waiting before more are answered 429.",
)
@options.option(
    "--batch-rows",
    type=click.IntRange(1),
    default=_DEFAULT.batch_rows,
    show_default=True,
    help="Rows that one merged prediction may have.",
)
@options.option(
    "--payload-log-dir",
    metavar="DIR|URI",
    help="Write sampled requests and answers as Parquet files into a directory or below s3://bucket/prefix; "
    "without it, nothing is kept.",
)
@options.option(
    "--payload-log-roll-s",
    type=click.FloatRange(0, min_open=True),
    default=_DEFAULT.payload_log_roll_s,
    show_default=True,
    help="Seconds until a file of them is closed, however little it holds.",
)
@options.option(
    "--payload-log-sample",
    type=click.FloatRange(0, 1),
    default=_DEFAULT.payload_log_sample,
    show_default=True,
    help="The share of requests that is written.",
)
@options.option(
    "--payload-log-redact",
    metavar="COLUMN",
    multiple=True,
    help="A column whose values are written as null; bodies that do not name their columns are then left out.",
)
@options.option(
    "--on-demand",
    metavar="PATTERN",
    multiple=True,
    help="Registered models that callers may ask for though they are not configured, such as main.clinic.*; they are "
    "loaded when they are asked for.",
)
@options.option(
    "--on-demand-models",
    type=click.IntRange(1),
    help="How many versions that callers asked for, and that are not configured, are kept loaded at once; without it, "
    "as many as --model-budget-bytes allows, else 8.",
)
@options.option(
    "--model-budget-bytes",
    type=click.IntRange(0),
    default=_DEFAULT.model_budget_bytes,
    show_default=True,
    help="How large they may be together, counted as their files unpacked; the longest unused go first. 0: no bound.",
)
@options.option(
    "--inline-predictions/--no-inline-predictions",
    env="INLINE_PREDICTIONS",
    default=_DEFAULT.inline_predictions,
    show_default=True,
    help="Whether predictions that are known to take microseconds may be made in the event loop; otherwise each model "
    "predicts in its own thread alone.",
)
@options.option(
    "--access-log/--no-access-log",
    env="SERVING_ACCESS_LOG",
    default=_DEFAULT.access_log,
    show_default=True,
    help="One JSON line per scoring request on standard error.",
)
@options.logging
@options.draining
@options.connection_timeouts
def serving(host: str, port: int, workers: int, **settings: Any) -> None:
    """The scoring service: loads model versions, follows their aliases and answers /invocations."""
    pool = serving_pool(Address(host, port), workers, **settings)
    options.exit_with(run([pool], on_ready=lambda: click.echo(f"Serving: {pool.url}")))
