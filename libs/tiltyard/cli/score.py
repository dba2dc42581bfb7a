"""`tiltyard score`: the batch job, from a path or table to a path or table."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tiltyard.cli.options import key_values, option
from tiltyard.cli.submit import is_submitted, submit_line
from tiltyard.cli.submit import submit as run_submitted
from tiltyard.spark.jobs.failures import last_words
from tiltyard.spark.jobs.formats import FORMATS
from tiltyard.spark.jobs.path_job import prepare_job
from tiltyard.spark.jobs.staged_output import WRITE_MODES
from tiltyard.spark.scoring.udf import ERRORS

if TYPE_CHECKING:
    from tiltyard.spark.jobs.summary import JobSummary

EXIT_FAILED = 3
_BAR_WIDTH = 30


class JobFailed(click.ClickException):
    """The job was started, and did not end well."""

    exit_code = EXIT_FAILED


def _names(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


@click.command(
    epilog="Exit status: 0 done; 1 refused before the job started, nothing was written; 2 wrong usage; 3 the job "
    "failed, and the output is as it was before. Rows are written beside the output path and put in place when the job "
    "is done, so that a job that died can simply be run again; only one that is killed while it puts the files of "
    "--mode append in place leaves some of them."
)
@option(
    "--model",
    "model_uri",
    required=True,
    metavar="URI",
    help="The model: models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/PATH or a model directory.",
)
@option("--input", "input_path", required=True, help="Where the rows are read: a path, or table:CATALOG.SCHEMA.TABLE.")
@option(
    "--output",
    "output_path",
    required=True,
    help="Where the scored rows go: a path, or table:CATALOG.SCHEMA.TABLE, which Spark itself replaces or appends to.",
)
@option(
    "--format",
    "input_format",
    type=click.Choice(FORMATS),
    help="Format of the input; by default told from the path's ending, else parquet. delta needs its package in Spark.",
)
@option(
    "--output-format",
    type=click.Choice(FORMATS),
    help="Format of the output; by default told from the path's ending, else parquet.",
)
@option(
    "--mode",
    type=click.Choice(WRITE_MODES),
    default="errorifexists",
    show_default=True,
    help="What to do when the output exists.",
)
@option("--output-col", default="prediction", show_default=True, help="The column that receives the predictions.")
@option(
    "--result-type",
    metavar="DDL",
    help="The type of a prediction, such as double or array<double>; by default from the signature.",
)
@option("--where", metavar="EXPR", help="Score only the rows that satisfy this.")
@option(
    "--select",
    "keep",
    multiple=True,
    callback=_names,
    metavar="COLUMN,…",
    help="The columns of the input that the output has; all by default.",
)
@option(
    "--partition-by",
    multiple=True,
    callback=_names,
    metavar="COLUMN,…",
    help="Write one folder for each value of these columns.",
)
@option(
    "--errors",
    type=click.Choice(ERRORS),
    default="fail",
    show_default=True,
    help="A row that cannot be scored fails the job, or has a null prediction, or that and its reason in a column.",
)
@option("--lineage", is_flag=True, help="Add the columns model_name, model_version, model_digest and model_run_id.")
@option("--master", help="The Spark master; every core of this machine by default.")
@option(
    "--submit/--no-submit",
    default=None,
    help="Print the spark-submit line and run it; by default so when the master is not local.",
)
@option(
    "--conf",
    "conf",
    multiple=True,
    callback=lambda _context, option, values: key_values(values, option.opts[0]),
    metavar="KEY=VALUE",
    help="A Spark setting; may be given several times.",
)
@option("--registry-url", help="The registry that models:/ URIs are read from.")
@option("--accept-unverified", is_flag=True, help="Also score with a version for whose bytes no registry vouches.")
@option("--json", "as_json", is_flag=True, help="Print the summary as one line of JSON.")
@click.pass_context
def score(
    context: click.Context,
    /,
    model_uri: str,
    input_path: str,
    output_path: str,
    master: str | None,
    submit: bool | None,
    conf: dict[str, str],
    registry_url: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Score INPUT into OUTPUT with one exact version of a model, on the Spark that is given."""
    from tiltyard.models import resolve
    from tiltyard.spark.jobs.local_paths import check_local_places
    from tiltyard.spark.jobs.session import open_session

    far = master is not None and not master.startswith(("local", "sc://"))
    if not is_submitted() and (far if submit is None else submit):
        context.exit(run_submitted(submit_line(context, master, conf), registry_url=registry_url))
    check_local_places(input_path, output_path, mode=how["mode"], master=master, conf=conf)
    # Now, and not when Spark is there: what the alias names is the job's from here on.
    reference = resolve(model_uri, registry_url=registry_url)
    spark = open_session(app_name=f"tiltyard score {model_uri}", master=master, conf=conf)
    try:
        job = prepare_job(spark, reference.exact_uri, input_path, output_path, registry_url=registry_url, **how)
        try:
            summary = job.run(_show_progress)
        except Exception as error:
            raise JobFailed(f"The job failed: {last_words(error)}") from None
    finally:
        spark.stop()
    if as_json:
        click.echo(json.dumps(asdict(summary) | {"output": output_path, "rows_per_s": summary.rows_per_s}))
    else:
        _print(summary, how["output_col"])


def _show_progress(line: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{line}", nl=False, err=True)
    else:
        click.echo(line, err=True)


def _print(summary: "JobSummary", output_col: str) -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    click.echo(f"model        {summary.model_uri}  {summary.digest}")
    click.echo(f"rows         {summary.rows:,}  ({summary.null_predictions:,} null predictions)")
    click.echo(f"seconds      {summary.duration_s:.1f}  ({summary.rows_per_s:,.0f} rows per second)")
    if summary.job_id is not None:
        click.echo(f"job          {summary.job_id}  (recorded on the version)")
    most = max((summary.counts or {}).values(), default=0)
    for value, count in (summary.counts or {}).items():
        bar = "▇" * round(_BAR_WIDTH * count / most) if most else ""
        click.echo(f"{output_col} = {value:<8} {count:>12,}  {bar}".rstrip())
