"""Version numbers and names under concurrent writers, in one process and in several."""

import asyncio
import subprocess
import sys

import pytest

from tests.registry.store_house import House
from tiltyard.errors import ResourceAlreadyExists
from tiltyard_registry.store.models import model_versions, registered_models, search
from tiltyard_registry.store.models import search as searches
from tiltyard_registry.store.namespaces import schemas

_WRITER = """
import asyncio, sys
from tests.registry.store_house import House

async def main(url, root, count):
    house = House(url, root)
    await asyncio.gather(*(house.create_version("m", "s3://elsewhere/model") for _ in range(count)))
    await house.database.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def _numbers(house: House) -> list[int]:
    rows = await house.see(searches.list_model_versions, "m", limit=10_000)
    return [row["version"] for row in rows]


async def test_64_writers_get_consecutive_numbers(house: House) -> None:
    """Each writer registers several versions at once with 63 others: 1..N, nobody fails, nobody shares."""
    writers, each = 64, 4
    await house.ensure("m")

    async def write() -> list[int]:
        return [(await house.create_version("m", "s3://elsewhere/model"))["version"] for _ in range(each)]

    got = await asyncio.gather(*(write() for _ in range(writers)))
    assert sorted(number for numbers in got for number in numbers) == list(range(1, writers * each + 1))
    assert await _numbers(house) == list(range(1, writers * each + 1))
    created = [e["version"] for e in await house.events(model="m") if e["action"] == "create_model_version"]
    assert created == list(range(1, writers * each + 1))


async def test_two_processes_get_consecutive_numbers(house: House) -> None:
    """Two processes over one database register versions of one model at once: 1..N between them."""
    await house.ensure("m")
    command = [sys.executable, "-c", _WRITER, house.url, house.artifacts.root, "40"]
    writers = [await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        _, errors = await writer.communicate()
        assert writer.returncode == 0, errors.decode()
    assert await _numbers(house) == list(range(1, 81))


async def test_one_of_many_takes_a_name(house: House) -> None:
    """Creating one model at once in a schema that is missing: one wins, the others are told, the schema is one."""

    async def create() -> bool:
        try:
            await house.do(registered_models.create_registered_model, "new.s.m")
        except ResourceAlreadyExists:
            return False
        return True

    assert sum(await asyncio.gather(*(create() for _ in range(12)))) == 1
    assert [row["name"] for row in await house.see(schemas.list_schemas, "new", limit=9)] == ["s"]
    await asyncio.gather(*(house.do(registered_models.create_registered_model, f"more.t.m{n}") for n in range(12)))
    assert len(await house.see(search.list_registered_models, within=("more", "t"), limit=99)) == 12


async def test_a_rename_onto_a_name_that_is_just_taken_loses(house: House) -> None:
    """Two models renamed to one name at once: one gets it."""
    for name in ("a", "b"):
        await house.ensure(name)
    rename = registered_models.rename_registered_model
    results = await asyncio.gather(house.do(rename, "a", "c"), house.do(rename, "b", "c"), return_exceptions=True)
    assert sorted(type(result) is ResourceAlreadyExists for result in results) == [False, True]


async def test_a_version_is_never_registered_from_files_that_change(house: House) -> None:
    """Uploads and registrations race: every manifest describes the bytes that are there for ever after."""
    await house.ensure("m")
    model_id, prefix = await house.log_model()

    async def write(number: int) -> None:
        await house.upload(f"{prefix}/model.pkl", str(number).encode() * 1000)

    results = await asyncio.gather(
        *(write(number) for number in range(6)),
        house.create_version("m", f"models:/{model_id}", model_id=model_id),
        *(write(number) for number in range(6, 12)),
        return_exceptions=True,
    )
    assert any(isinstance(result, dict) for result in results)
    manifest = await house.see(model_versions.get_manifest, "m", 1)
    stored = b"".join([chunk async for chunk in house.artifacts.store.get(f"{prefix}/model.pkl")])
    (recorded,) = [file for file in manifest["files"] if file["path"] == "model.pkl"]
    import hashlib

    assert recorded["sha256"] == hashlib.sha256(stored).hexdigest()
    with pytest.raises(Exception, match="cannot be changed"):
        await write(99)
