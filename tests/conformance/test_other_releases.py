"""The stock client of the release after the one that the suite is run with."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.client_environments import packages, with_packages

RELEASE = "3.18.0"
FILES = [f"tests/conformance/{name}.py" for name in ("test_registry", "tracking/test_tracking", "test_prompts")]
CHOSEN = "alias or stages or search or metric or batch or prompt or artifacts or datasets"


@pytest.mark.slow
def test_the_next_release_of_the_client_works_too() -> None:
    """Runs, models, aliases, prompts, artifacts and searches by MLflow 3.18, as by the release beside it."""
    environment = with_packages(packages(f"mlflow=={RELEASE}"))
    asked = [sys.executable, "-c", "import mlflow; print(mlflow.__version__)"]
    told = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == RELEASE
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *FILES]
    command += ["-k", f"sqlite and ({CHOSEN})"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-4000:] + done.stderr[-2000:]
