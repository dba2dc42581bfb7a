"""The backends that the suite brings are real ones, and every test gets its own."""

from collections.abc import Callable

import asyncpg
import obstore
from obstore.store import from_url


async def test_postgres_is_a_server_and_each_database_is_empty(new_postgres_url: Callable[..., str]) -> None:
    """A table made in one database is not in the next."""
    for _ in range(2):
        url = new_postgres_url(migrated=False).replace("postgresql+asyncpg", "postgresql")
        connection = await asyncpg.connect(url)
        try:
            assert (await connection.fetchval("SHOW server_version_num")) >= "150000"
            await connection.execute("CREATE TABLE only_here (id int)")
        finally:
            await connection.close()


def test_the_artifact_root_takes_and_gives_bytes(artifact_root: str) -> None:
    """What is put under an artifact root is read back from it, on every kind of store."""
    store = from_url(artifact_root, **({"mkdir": True} if artifact_root.startswith("file") else {}))
    assert list(obstore.list(store)) == []
    obstore.put(store, "a/b.bin", b"\x00\x01")
    assert bytes(obstore.get(store, "a/b.bin").bytes()) == b"\x00\x01"
