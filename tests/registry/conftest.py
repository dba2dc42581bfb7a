"""What the tests of the registry share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.registry.store_house import House


@pytest_asyncio.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """The registry's doors over an empty database, on each backend, and a local artifact root."""
    opened = House(database_url, (tmp_path / "artifacts").as_uri())
    yield opened
    await opened.database.close()
