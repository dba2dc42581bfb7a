"""This release beside another one: measured by `make bench` where `TILTYARD_BENCH_BEFORE` names the other's Python."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.bench import releases
from tests.fixtures.postgres import Postgres

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(not releases.BEFORE, reason="TILTYARD_BENCH_BEFORE names no other release"),
]


def test_scoring_is_as_fast_as_before(tmp_path: Path) -> None:
    """Every round is answered by both releases; the ratios are for the reader."""
    ratios = releases.Ratios()
    print()
    releases.scoring(ratios, tmp_path)
    assert ratios.found


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_tracking_is_as_fast_as_before(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Neither release refuses a request; the ratios are for the reader."""
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in releases.PYTHONS}
    postgres: Postgres | None = None
    if kind == "postgresql":
        postgres = request.getfixturevalue("postgres_server")
        urls = {name: postgres.create_database(migrated=False) for name in releases.PYTHONS}

    def settle() -> None:
        # The server of the tests does not clean up by itself, as others do.
        for url in urls.values() if postgres is not None else ():
            postgres.execute("VACUUM (ANALYZE)", url.rsplit("/", 1)[1])

    for name, python in releases.PYTHONS.items():
        migrate = [python, "-m", "tiltyard.cli", "migrate", "--database-url", urls[name]]
        subprocess.run(migrate, check=True, capture_output=True)
    ratios = releases.Ratios()
    print()
    releases.tracking(ratios, tmp_path, urls, settle)
    assert ratios.found


def test_batch_scoring_is_as_fast_as_before() -> None:
    """Both releases score every table; the ratios are for the reader."""
    ratios = releases.Ratios()
    print()
    releases.batch(ratios, float(os.environ.get("TILTYARD_BENCH_SCALE", "0.3")), rounds=3)
    assert ratios.found
