"""What the tests of the registry share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fixtures.databases import BACKENDS, migrated_sqlite
from tests.fixtures.postgres import Postgres
from tests.registry.api_app import Api, opened
from tests.registry.store_house import House
from tiltyard_registry.tables.all_tables import metadata

# What the migrations put there stays; everything else a test has made goes before the next.
_KEPT = {
    "catalogs": "name NOT IN ('main', 'workspace')",
    "schemas": "catalog_id NOT IN (SELECT id FROM catalogs WHERE name IN ('main', 'workspace')) OR name <> 'default'",
    "experiments": "experiment_id <> 0",
}
_EMPTY = "; ".join(
    f"DELETE FROM {table.name} WHERE {_KEPT.get(table.name, 'true')}" for table in reversed(metadata.sorted_tables)
)


@pytest.fixture(scope="session")
def emptied_postgres_url(postgres_server: Postgres) -> Callable[[], str]:
    """Gives a function that empties one PostgreSQL database, which is quicker than to make one, and gives its URL."""
    url = postgres_server.create_database()

    def empty() -> str:
        postgres_server.execute(_EMPTY, url.rsplit("/", 1)[1])
        return url

    return empty


@pytest_asyncio.fixture(params=BACKENDS)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """The registry's doors over an empty database, on each backend, and a local artifact root."""
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("emptied_postgres_url")()
    opened = House(url, (tmp_path / "artifacts").as_uri())
    yield opened
    await opened.database.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BACKENDS)
async def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The whole application on each backend, for one module, whose tests use names of their own."""
    settings, folder = {}, tmp_path_factory.mktemp(f"api-{request.param}")
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres_server").create_database()
    else:
        migrated_sqlite(folder / "tiltyard.db")
    async with opened(folder, **settings) as running:
        yield running


@pytest_asyncio.fixture
async def embedded_api(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Api]:
    """The whole application as it starts on a laptop, over a database of its own without rows."""
    async with opened(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def laptop_api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The same for all tests of a module that use names of their own, for an application takes long to make."""
    folder = tmp_path_factory.mktemp("api-laptop")
    migrated_sqlite(folder / "tiltyard.db")
    async with opened(folder) as running:
        yield running
