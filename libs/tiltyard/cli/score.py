"""`tiltyard score`: the batch job, from a path to a path."""

import click

from tiltyard.spark.scoring import FORMATS, WRITE_MODES, score_path


@click.command()
@click.option(
    "--model",
    "model_uri",
    required=True,
    envvar="TILTYARD_MODEL",
    metavar="URI",
    help="The model: models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/PATH or a model directory.",
)
@click.option("--input", "input_path", required=True, envvar="TILTYARD_INPUT", help="Where the rows are read.")
@click.option("--output", "output_path", required=True, envvar="TILTYARD_OUTPUT", help="Where the scored rows go.")
@click.option(
    "--format",
    "input_format",
    type=click.Choice(FORMATS),
    envvar="TILTYARD_FORMAT",
    help="Format of the input; by default told from the path's ending, else parquet.",
)
@click.option(
    "--output-format",
    type=click.Choice(FORMATS),
    envvar="TILTYARD_OUTPUT_FORMAT",
    help="Format of the output; by default told from the path's ending, else parquet.",
)
@click.option(
    "--mode",
    type=click.Choice(WRITE_MODES),
    default="errorifexists",
    show_default=True,
    envvar="TILTYARD_MODE",
    help="What to do when the output exists.",
)
@click.option(
    "--output-col",
    default="prediction",
    show_default=True,
    envvar="TILTYARD_OUTPUT_COL",
    help="The column that receives the predictions.",
)
@click.option(
    "--result-type",
    envvar="TILTYARD_RESULT_TYPE",
    metavar="DDL",
    help="The type of a prediction, such as double or array<double>; by default from the signature.",
)
@click.option("--where", envvar="TILTYARD_WHERE", metavar="EXPR", help="Score only the rows that satisfy this.")
@click.option(
    "--lineage",
    is_flag=True,
    envvar="TILTYARD_LINEAGE",
    help="Add the columns model_name, model_version and model_digest.",
)
@click.option("--master", envvar="TILTYARD_MASTER", help="The Spark master; every core of this machine by default.")
@click.option(
    "--conf",
    "conf",
    multiple=True,
    envvar="TILTYARD_CONF",
    metavar="KEY=VALUE",
    help="A Spark setting; may be given several times.",
)
@click.option("--registry-url", envvar="TILTYARD_REGISTRY_URL", help="The registry that models:/ URIs are read from.")
@click.option(
    "--accept-unverified",
    is_flag=True,
    envvar="TILTYARD_ACCEPT_UNVERIFIED",
    help="Also score with a version for whose bytes no registry vouches.",
)
def score(
    model_uri: str,
    input_path: str,
    output_path: str,
    input_format: str | None,
    output_format: str | None,
    mode: str,
    output_col: str,
    result_type: str | None,
    where: str | None,
    lineage: bool,
    master: str | None,
    conf: tuple[str, ...],
    registry_url: str | None,
    accept_unverified: bool,
) -> None:
    """Score INPUT into OUTPUT with one exact version of a model, on the Spark that is given."""
    from tiltyard.spark.session import open_session

    settings = {}
    for entry in conf:
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"'{entry}' is not KEY=VALUE.", param_hint="--conf")
        settings[key] = value
    spark = open_session(app_name=f"tiltyard score {model_uri}", master=master, conf=settings)
    try:
        summary = score_path(
            spark,
            model_uri,
            input_path,
            output_path,
            input_format=input_format,
            output_format=output_format,
            mode=mode,
            output_col=output_col,
            result_type=result_type,
            where=where,
            lineage=lineage,
            registry_url=registry_url,
            accept_unverified=accept_unverified,
        )
    finally:
        spark.stop()
    click.echo(f"model        {summary.model_uri}  {summary.digest}")
    click.echo(f"rows         {summary.rows:,}  ({summary.null_predictions:,} null predictions)")
    click.echo(f"seconds      {summary.duration_s:.1f}  ({summary.rows_per_s:,.0f} rows per second)")
    if summary.counts is not None:
        for value, count in summary.counts.items():
            click.echo(f"{output_col} = {value:<8} {count:,}")
