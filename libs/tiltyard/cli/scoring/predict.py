"""`tiltyard predict`: ask the scoring service for predictions, from a terminal."""

import sys
from pathlib import Path
from urllib.parse import quote

import click

from tiltyard.cli.options import option
from tiltyard.cli.scoring.service import ScoringService, asking_serving
from tiltyard.client.call import error_of

_CONTENT_TYPES = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.stream",
}


@click.command()
@click.argument("rows")
@option("--endpoint", help="The named endpoint to ask; without it and --model, the service's default one.")
@option("--model", env="PREDICT_MODEL", metavar="NAME/VERSION | NAME@ALIAS", help="The registered model to ask.")
@asking_serving
def predict(service: ScoringService, rows: str, endpoint: str | None, model: str | None) -> None:
    """Predictions for ROWS: a file (.json, .csv, .parquet, .arrow), JSON text, or - for JSON on standard input.

    JSON has one of the forms that /invocations takes, such as {"dataframe_records": [{"age": 54}]}.
    """
    if endpoint is not None and model is not None:
        raise click.UsageError("Give --endpoint or --model, not both.")
    body, content_type = _body(rows)
    answer = service.request("POST", _path(endpoint, model), body, content_type)
    if answer.status != 200:
        raise error_of(answer)
    click.echo(answer.body)
    if (version := answer.headers.get("x-tiltyard-model")) is not None:
        click.echo(f"answered by {version}", err=True)


def _path(endpoint: str | None, model: str | None) -> str:
    if endpoint is not None:
        return f"/serving-endpoints/{quote(endpoint, safe='')}/invocations"
    if model is None:
        return "/invocations"
    name, _, selector = model.removeprefix("models:/").replace("@", "/").rpartition("/")
    if not name or not selector:
        raise click.BadParameter(f"'{model}' is not NAME/VERSION or NAME@ALIAS.", param_hint="--model")
    return f"/model/{quote(name, safe='')}/{quote(selector, safe='')}/invocations"


def _body(rows: str) -> tuple[bytes, str]:
    if rows == "-":
        return sys.stdin.buffer.read(), "application/json"
    if rows.lstrip().startswith(("{", "[")):
        return rows.encode(), "application/json"
    file = Path(rows)
    content_type = _CONTENT_TYPES.get(file.suffix.lower())
    if content_type is None:
        expected = ", ".join(_CONTENT_TYPES)
        raise click.BadParameter(f"'{rows}' is neither JSON nor a file that ends in {expected}.", param_hint="ROWS")
    try:
        return file.read_bytes(), content_type
    except OSError as error:
        raise click.BadParameter(f"'{rows}' cannot be read: {error.strerror}.", param_hint="ROWS") from None
