"""The commands that ask a scoring service, run against a running one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.fixtures.processes import unused_port
from tests.fixtures.services import Service
from tests.serving.saved_models import IRIS, MODELS, SETOSA, VIRGINICA
from tiltyard.cli import main


@pytest.fixture
def tiltyard(server: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command with these words."""
    monkeypatch.setenv("TILTYARD_SERVING_URL", server.url)

    def run(*words: str, status: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(main, words, input=stdin)
        assert result.exit_code == status, result.output
        return result

    return run


def parsed(result: Result) -> Any:
    return json.loads(result.stdout)


def test_predictions_from_a_terminal(tiltyard: Callable[..., Result], tmp_path: Path) -> None:
    """Rows as text, from a file or from standard input are predicted, and the version that answered is named."""
    rows = json.dumps({"dataframe_split": {"columns": IRIS, "data": [SETOSA, VIRGINICA]}})
    table = tmp_path / "rows.csv"
    table.write_text("\n".join([",".join(IRIS), ",".join(map(str, SETOSA))]))
    assert parsed(tiltyard("predict", rows)) == {"predictions": [0, 2]}
    assert parsed(tiltyard("predict", "-", "--endpoint", "default", stdin=rows)) == {"predictions": [0, 2]}
    answer = tiltyard("predict", str(table))
    assert parsed(answer) == {"predictions": [0]}
    assert "answered by default/" in answer.stderr


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("predict", "{}"), 1, "dataframe_split"),
        (("predict", "rows.txt"), 2, ".parquet"),
        (("predict", "absent.csv"), 2, "cannot be read"),
        (("predict", "{}", "--model", "churn"), 2, "NAME@ALIAS"),
        (("predict", "{}", "--model", "main.a.b@champion"), 1, "main.a.b"),
        (("predict", "{}", "--endpoint", "absent"), 1, "There is no serving endpoint 'absent'"),
        (("endpoints", "show", "absent"), 1, "There is no serving endpoint 'absent'"),
    ],
)
def test_mistakes_are_told_in_a_line(
    tiltyard: Callable[..., Result], words: tuple[str, ...], status: int, message: str
) -> None:
    """What cannot be asked is told without a traceback."""
    assert message in tiltyard(*words, status=status).stderr


def test_the_endpoints(tiltyard: Callable[..., Result], server: Service) -> None:
    """Endpoints are listed with the address that applications post to, and one shows its models."""
    listed = {row["name"]: row for row in parsed(tiltyard("endpoints", "list", "--json"))}
    assert set(listed) == set(MODELS)
    assert listed["default"]["url"] == f"{server.url}/serving-endpoints/default/invocations"
    [shown] = parsed(tiltyard("endpoints", "show", "default", "--json"))
    assert (shown["model"], shown["state"], shown["traffic"]) == ("default", "ready", 100)


def test_the_state_of_both_services(tiltyard: Callable[..., Result], server: Service) -> None:
    """The state says which service works; one that does not answer is an exit status of 1."""
    silent = f"http://127.0.0.1:{unused_port()}"
    found = parsed(tiltyard("status", "--registry-url", silent, "--json", status=1))
    assert found["registry"] == f"{silent} does not answer"
    assert found["serving"] == f"{server.url} works"
    assert any(line.startswith("default: ") for line in found["serves"])
    other = tiltyard("endpoints", "list", "--serving-url", silent, status=1)
    assert f"No scoring service answers at {silent}" in other.stderr
