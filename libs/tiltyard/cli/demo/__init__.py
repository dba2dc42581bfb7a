"""`tiltyard demo`: the whole main job on real data, from training to the nightly batch.

Every step goes through the public API and the real services, as a reader would do it by hand.
"""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

import tiltyard
from tiltyard.cli import options
from tiltyard.cli.demo.callers import Callers, post
from tiltyard.cli.demo.patients import Patients, load_patients, write_patients
from tiltyard.cli.demo.services import free_port, service, tiltyard_command, wait_until_healthy
from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist

MODEL = "main.clinic.tumor"
CHAMPION_URI = f"models:/{MODEL}@champion"
NIGHTLY_ROWS = 1_000_000


@dataclass
class Story:
    """What happened, printed as it happens and as a table at the end."""

    started: float = field(default_factory=time.perf_counter)
    lines: list[tuple[float, str, str]] = field(default_factory=list)

    def note(self, step: str, text: str) -> None:
        """Keeps a line for the table."""
        self.lines.append((time.perf_counter() - self.started, step, text))

    def tell(self, step: str, text: str) -> None:
        """Prints a line and keeps it."""
        self.note(step, text)
        click.echo(f"  {step:<10} {text}")

    def print_table(self) -> None:
        """Everything again, with the seconds at which it happened."""
        click.echo("\n  seconds  step       what happened")
        for seconds, step, text in self.lines:
            click.echo(f"  {seconds:7.1f}  {step:<10} {text}")


@click.command()
@options.option("--stay", is_flag=True, help="Do the first steps, then serve until Ctrl-C.")
@options.option(
    "--rows",
    type=click.IntRange(1),
    default=NIGHTLY_ROWS,
    show_default=True,
    help="Rows that the nightly job scores.",
)
@options.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the registry keeps its data; a temporary directory by default, ./tiltyard-data with --stay.",
)
@options.of(options.REGISTRY, "port", prefix="registry")
@options.of(options.SERVING, "port", prefix="serving")
def demo(stay: bool, rows: int, data_dir: Path | None, registry_port: int, serving_port: int) -> None:
    """Train, register, promote, serve, roll back and batch-score, on the breast cancer data of scikit-learn.

    The ports are those of --stay; the whole demo takes free ones.
    """
    # Told to stop, it stops the services that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="tiltyard-demo-") as scratch:
        if stay:
            _stay(data_dir or Path("tiltyard-data"), registry_port or free_port(), serving_port or free_port())
        else:
            _whole_job(data_dir or Path(scratch) / "data", Path(scratch), rows)


def _whole_job(data_dir: Path, scratch: Path, rows: int) -> None:
    story = Story()
    registry_port, serving_port = free_port(), free_port()
    registry_url = f"http://127.0.0.1:{registry_port}"
    scoring_url = f"http://127.0.0.1:{serving_port}/invocations"
    with service("registry", "--port", str(registry_port), "--data-dir", str(data_dir)):
        wait_until_healthy(registry_url)
        story.tell("registry", f"healthy on {registry_url}")
        client = tiltyard.Client(registry_url)
        patients = load_patients()
        for line in register_two(client, registry_url, patients):
            story.tell("register", line)
        serving = ("--port", str(serving_port), "--registry-url", registry_url, "--model", CHAMPION_URI)
        with service("serving", *serving):
            wait_until_healthy(f"http://127.0.0.1:{serving_port}")
            story.tell("serving", f"healthy on http://127.0.0.1:{serving_port}, follows {CHAMPION_URI}")
            predict_held_out(story, scoring_url, patients)
            promote_under_load(story, client, scoring_url, patients)
            roll_back(story, client, scoring_url, patients)
            nightly_job(story, registry_url, scratch, patients, rows)
    story.print_table()


def _stay(data_dir: Path, registry_port: int, serving_port: int) -> None:
    registry_url, serving_url = (f"http://127.0.0.1:{each}" for each in (registry_port, serving_port))
    ports = ("--registry-port", str(registry_port), "--serving-port", str(serving_port))
    with service("registry", "--data-dir", str(data_dir), "--port", str(registry_port)):
        # The models have to be there once; a second start finds them.
        wait_until_healthy(registry_url)
        client = tiltyard.Client(registry_url)
        patients = load_patients()
        if not _has_champion(client):
            for line in register_two(client, registry_url, patients):
                click.echo(f"  {line}")
    with service("up", "--data-dir", str(data_dir), "--model", CHAMPION_URI, *ports):
        wait_until_healthy(registry_url)
        wait_until_healthy(serving_url)
        _print_curl_lines(registry_url, serving_url, patients)
        try:
            signal.pause()
        except KeyboardInterrupt:
            click.echo("\nStopping.")


def _has_champion(client: "tiltyard.Client") -> bool:
    try:
        client.get_model_version_by_alias(MODEL, "champion")
    except (ResourceDoesNotExist, InvalidParameterValue):
        return False
    return True


def _print_curl_lines(registry_url: str, serving_url: str, patients: Patients) -> None:
    body = patients.body(slice(0, 2))
    click.echo(f"""
Registry {registry_url}   Scoring {serving_url}   (Ctrl-C stops both)

Ask the champion about two patients, and see which version answers:

  curl -i {serving_url}/invocations -H 'content-type: application/json' -d '{body}'

Promote the challenger, ask again, roll back:

  curl -X POST {registry_url}/api/2.0/mlflow/registered-models/alias -H 'content-type: application/json' \\
    -d '{{"name": "{MODEL}", "alias": "champion", "version": "2"}}'
  curl -X POST {registry_url}/api/tiltyard/v1/models/{MODEL}/aliases/champion/rollback

Who moved what, and when:

  curl {registry_url}/api/tiltyard/v1/models/{MODEL}/aliases/champion/history
  curl '{registry_url}/api/tiltyard/v1/events?model={MODEL}'

The API, to read:  {registry_url}/api/tiltyard/v1/docs
""")


def register_two(client: "tiltyard.Client", registry_url: str, patients: Patients) -> Iterator[str]:
    """Trains and registers versions 1 and 2, and names them champion and challenger; yields what was done."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    candidates = {
        "champion": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "challenger": HistGradientBoostingClassifier(random_state=7),
    }
    for alias, estimator in candidates.items():
        estimator.fit(patients.train, patients.train_diagnosis)
        accuracy = estimator.score(patients.held_out, patients.held_out_diagnosis)
        logged = tiltyard.log_model(
            estimator,
            name="tumor",
            input_example=patients.train.head(5),
            registered_model_name=MODEL,
            registry_url=registry_url,
        )
        version = str(logged.registered_model_version)
        client.set_alias(MODEL, alias, version)
        kind = type(estimator[-1] if hasattr(estimator, "steps") else estimator).__name__
        yield f"version {version} is {alias}: {kind}, accuracy {accuracy:.3f} on held-out patients"


def predict_held_out(story: Story, url: str, patients: Patients) -> None:
    """POSTs ten patients and prints what the champion says."""
    answer = post(url, patients.body(slice(0, 10)))
    said = ["benign" if label == 1 else "malignant" for label in answer.predictions]
    truth = ["benign" if label == 1 else "malignant" for label in patients.held_out_diagnosis[:10]]
    click.echo(f"    predicted  {', '.join(said)}\n    diagnosed  {', '.join(truth)}")
    right = sum(a == b for a, b in zip(said, truth, strict=True))
    story.tell("predict", f"{answer.model} answered for 10 held-out patients, {right} of them right")


def promote_under_load(story: Story, client: "tiltyard.Client", url: str, patients: Patients) -> None:
    """Moves champion to version 2 while callers keep asking."""
    with Callers(url, patients.body(slice(0, 1))) as callers:
        callers.wait_for_answers(200)
        moved_at = time.perf_counter()
        client.set_alias(MODEL, "champion", 2)
        waited_s = callers.first_answer_from(f"{MODEL}/2") - moved_at
        callers.wait_for_answers(200)
    by_version = ", ".join(f"{count:,} by {name}" for name, count in sorted(callers.answers.items()))
    story.tell("promote", f"champion is version 2, first answer from it after {waited_s * 1000:.0f} ms")
    story.tell("promote", f"{callers.total:,} requests meanwhile ({by_version}), {callers.failures} failed")
    if callers.failures:
        raise click.ClickException("A request failed during the promotion.")


def roll_back(story: Story, client: "tiltyard.Client", url: str, patients: Patients) -> None:
    """One step back, and who did what."""
    client.rollback_alias(MODEL, "champion")
    body, deadline = patients.body(slice(0, 1)), time.monotonic() + 10
    while (answer := post(url, body)).model != f"{MODEL}/1":
        if time.monotonic() > deadline:
            raise click.ClickException("The roll-back did not reach the scoring service.")
        time.sleep(0.01)
    story.tell("roll back", f"champion is version 1 again, and {answer.model} answers")
    moves = client.alias_history(MODEL, "champion").moves
    told = " -> ".join(move.to_version or "none" for move in reversed(moves))
    story.tell("audit", f"champion's history: {told}, by {moves[0].principal}")


def nightly_job(story: Story, registry_url: str, scratch: Path, patients: Patients, rows: int) -> None:
    """Scores `rows` patients with the champion, through `tiltyard score` on local Spark."""
    tonight, scored = scratch / "patients.parquet", scratch / "scored.parquet"
    write_patients(tonight, patients, rows)
    started = time.perf_counter()
    run = subprocess.run(  # noqa: S603 - our own command, no shell
        [
            *tiltyard_command("score"),
            *("--model", CHAMPION_URI, "--input", str(tonight), "--output", str(scored)),
            *("--registry-url", registry_url, "--lineage"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise click.ClickException(f"The batch job failed:\n{run.stderr[-4000:]}")
    click.echo("".join(f"    {line}\n" for line in run.stdout.splitlines()), nl=False)
    for line in run.stdout.splitlines():
        story.note("batch", " ".join(line.split()))
    story.tell("batch", f"whole job, Spark's start included: {time.perf_counter() - started:.0f} s")
