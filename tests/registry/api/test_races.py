"""Races as callers run them: many connections to two workers over one database."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiltyard
from tests.fixtures.databases import BACKENDS, migrated_sqlite
from tests.fixtures.services import Service
from tiltyard.errors import ResourceConflict

CLIENTS = 64
GENERATIONS = 5


@pytest.fixture(scope="module", params=BACKENDS)
def two_workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry of two worker processes on each database; each test has a model of its own."""
    folder = tmp_path_factory.mktemp(f"races-{request.param}")
    arguments = ["--workers", "2", "--data-dir", str(folder / "data")]
    if request.param == "postgres":
        arguments += ["--database-url", request.getfixturevalue("postgres_server").create_database()]
    else:
        migrated_sqlite(folder / "data/tiltyard.db")
    service = Service("registry", *arguments, log=folder / "registry.log").start()
    yield service
    service.terminate()


async def logged_model(client: tiltyard.AsyncClient, folder: Path) -> str:
    """A READY logged model with one file."""
    model = (await client.create_logged_model("0", name="raced")).info
    file = folder / "MLmodel"
    file.write_text("flavors: {}\n")
    await client.upload(model.artifact_uri.removeprefix("mlflow-artifacts:/") + "/MLmodel", file)
    await client.finalize_logged_model(model.model_id)
    return model.model_id


# Five in turn for each client: what races shows in the first of them.
@pytest.mark.parametrize("count", [5 * CLIENTS, pytest.param(1000, marks=pytest.mark.bench)])
@pytest.mark.timeout(300)
async def test_64_clients_create_the_versions_of_one_model(two_workers: Service, tmp_path: Path, count: int) -> None:
    """Its versions are exactly 1 to the last, each pinned to the same digest, and nobody is refused."""
    name = f"main.races.versions{count}"
    async with tiltyard.AsyncClient(two_workers.url) as client:
        model_id = await logged_model(client, tmp_path)
        await client.create_registered_model(name)
        left = iter(range(count))

        async def create() -> list[int]:
            source = f"models:/{model_id}"
            return [int((await client.create_model_version(name, source, model_id=model_id)).version) for _ in left]

        numbers = await asyncio.gather(*(create() for _ in range(CLIENTS)))
        assert sorted(number for each in numbers for number in each) == list(range(1, count + 1))
        digests = {(await client.manifest(name, n)).digest for n in (1, count // 2, count)}
        assert len(digests) == 1


async def test_racing_promotions_have_one_winner_each_generation(two_workers: Service) -> None:
    """Of 64 clients that promote if the champion is what they saw, exactly one wins each time."""
    async with tiltyard.AsyncClient(two_workers.url) as client:
        await client.create_registered_model("main.races.promotions")
        for _ in range(GENERATIONS + 1):
            await client.create_model_version("main.races.promotions", "s3://elsewhere/model")
        await client.set_alias("main.races.promotions", "champion", 1)
        for champion in range(1, GENERATIONS + 1):
            outcomes = await asyncio.gather(
                *(
                    client.set_alias("main.races.promotions", "champion", champion + 1, expected_version=champion)
                    for _ in range(CLIENTS)
                ),
                return_exceptions=True,
            )
            refused = [outcome for outcome in outcomes if isinstance(outcome, ResourceConflict)]
            assert len(refused) == CLIENTS - 1, outcomes
        moves = (await client.alias_history("main.races.promotions", "champion")).moves
        assert [move.to_version for move in reversed(moves)] == [str(n) for n in range(1, GENERATIONS + 2)]
