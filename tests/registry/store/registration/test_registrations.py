"""Versions that are not READY at once: reserved and finalized, or hashed in the background."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fixtures.waiting import until
from tests.registry.store_house import ALICE, MODEL_FILES, House
from tiltyard.errors import InternalError, InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from tiltyard.storage import ArtifactStore, Entry
from tiltyard_registry.background import registrations
from tiltyard_registry.background.registrations import Registrations
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.models import model_versions
from tiltyard_registry.store.registration import freeze, new_versions, reserved_versions
from tiltyard_registry.store.sql import leases
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Row

BIG = b"x" * (freeze.HASHED_AT_ONCE_BYTES // 2 + 1)


async def _reserve(house: House, name: str = "main.ml.m") -> tuple[Row, Path]:
    await house.ensure(name)
    row = await house.do(reserved_versions.create_pending_version, house.artifacts, name, "models:/m-55", run_id="r")
    return row, Path(urlsplit(row["storage_location"]).path)


def _finalize(house: House, version: int, name: str = "main.ml.m"):
    return new_versions.finalize_version(house.database, ALICE, house.artifacts, name, version)


async def test_a_reserved_version_is_written_by_its_creator_and_finalized(house: House) -> None:
    """PENDING with a place of its own, then READY with a manifest, once; afterwards its files are pinned."""
    row, place = await _reserve(house)
    assert (row["status"], row["version"], row["run_id"]) == ("PENDING_REGISTRATION", 1, "r")
    assert row["storage_location"].startswith("file:///")
    assert place.is_dir()
    with pytest.raises(InvalidParameterValue, match="holds no 'MLmodel' file"):
        await _finalize(house, 1)
    for path, body in MODEL_FILES.items():
        (place / path).write_bytes(body)
    done = await _finalize(house, 1)
    same = await house.register("same")
    assert (done["status"], done["manifest_digest"]) == ("READY", same["manifest_digest"])
    uri = await house.see(model_versions.get_model_version_download_uri, "main.ml.m", 1)
    assert uri == done["location"] == f"mlflow-artifacts:/{house.prefix(row['storage_location'])}"
    with pytest.raises(InvalidParameterValue, match=r"not in a pending registration state: main\.ml\.m/1$"):
        await _finalize(house, 1)
    with pytest.raises(InvalidParameterValue, match=r"state: workspace\.default\.same/1$"):
        await _finalize(house, 1, "same")
    with pytest.raises(ResourceConflict):
        await house.upload(f"{house.prefix(row['storage_location'])}/more", b"")
    with pytest.raises(ResourceDoesNotExist):
        await _finalize(house, 9)
    second, other = await _reserve(house)
    assert (second["version"], other == place) == (2, False)
    with pytest.raises(InvalidParameterValue, match="is not ready"):
        await house.create_version("same", "models:/main.ml.m/2")


async def test_big_files_that_came_past_us_are_hashed_in_the_background(house: House) -> None:
    """The version is PENDING and pinned at once, and READY soon after, woken by its creation."""
    background = Registrations(house.database, house.artifacts)
    await background.start()
    _, place = await _reserve(house)
    for name in ("MLmodel", "a.bin", "b.bin"):
        (place / name).write_bytes(BIG)
    row = await _finalize(house, 1)
    assert (row["status"], row["manifest_digest"]) == ("PENDING_REGISTRATION", None)
    with pytest.raises(ResourceConflict):
        await house.upload(f"{row['pinned_prefix']}/more", b"")

    async def status() -> str:
        return (await house.see(model_versions.get_model_version, "main.ml.m", 1))["status"]

    async def done() -> bool:
        return await status() != "PENDING_REGISTRATION"

    await until(done)
    await background.stop()
    assert await status() == "READY"
    manifest = await house.see(model_versions.get_manifest, "main.ml.m", 1)
    assert [file["path"] for file in manifest["files"]] == ["MLmodel", "a.bin", "b.bin"]
    assert [event["action"] for event in await house.events(model="main.ml.m")][-1] == "finalize_model_version"
    # All hashes are known by now, so another version of the same files is READY at once.
    assert (await house.create_version("main.ml.m", "models:/main.ml.m/1"))["status"] == "READY"


async def test_a_restart_resumes_what_was_pending(house: House) -> None:
    """What one process began and did not end, the next one ends, once; a version deleted meanwhile is let go."""
    for _ in range(2):
        row, place = await _reserve(house)
        for name in ("MLmodel", "a.bin", "b.bin"):
            (place / name).write_bytes(BIG)
        await _finalize(house, row["version"])
    await house.do(model_versions.delete_model_version, "main.ml.m", 2)
    await asyncio.gather(*(Registrations(house.database, house.artifacts).finish_all() for _ in range(2)))
    assert (await house.see(model_versions.get_model_version, "main.ml.m", 1))["status"] == "READY"
    finished = [e for e in await house.events() if e["after"] and e["after"].get("status") == "READY"]
    assert len(finished) == 1


async def test_files_that_vanish_fail_the_registration(house: House) -> None:
    """The version says FAILED_REGISTRATION and why, and pins nothing any more."""
    row, place = await _reserve(house)
    for name in ("MLmodel", "a.bin", "b.bin"):
        (place / name).write_bytes(BIG)
    await _finalize(house, 1)
    for name in ("MLmodel", "a.bin", "b.bin"):
        (place / name).unlink()
    await Registrations(house.database, house.artifacts).finish_all()
    failed = await house.see(model_versions.get_model_version, "main.ml.m", 1)
    assert (failed["status"], failed["status_message"]) == ("FAILED_REGISTRATION", "The files are gone.")
    await house.upload(f"{house.prefix(row['storage_location'])}/more", b"")


class _Broken:
    """The store of a registry that refuses to read, or to list, what lies below one prefix."""

    def __init__(self, store: ArtifactStore, prefix: str) -> None:
        self._store = store
        self.prefix = prefix
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def list(self, prefix: str, *, recursive: bool = False) -> AsyncIterator[Entry]:
        if prefix == self.prefix:
            self.asked += 1
            raise InternalError("The artifact store refuses access.")
        async for entry in self._store.list(prefix, recursive=recursive):
            yield entry


async def _pending(house: House) -> Row:
    row, place = await _reserve(house)
    for name in ("MLmodel", "a.bin", "b.bin"):
        (place / name).write_bytes(BIG)
    return await _finalize(house, row["version"])


async def test_one_that_cannot_be_read_holds_up_no_other(house: House) -> None:
    """It is tried again later and later, each time the others go on, and after so many tries it has failed."""
    bad, good = [await _pending(house) for _ in range(2)]
    store = _Broken(house.artifacts.store, bad["pinned_prefix"])
    now = 0.0
    background = Registrations(house.database, ArtifactRoot(store, house.artifacts.root), clock=lambda: now)

    async def status(row: Row) -> str:
        found = await house.see(model_versions.get_model_version, row["name"], row["version"])
        return str(found["status"])

    delays = [await background.finish_all()]
    assert (await status(bad), await status(good), store.asked) == ("PENDING_REGISTRATION", "READY", 1)
    await background.finish_all()
    assert store.asked == 1, "it is not due yet"
    while delays[-1] is not None:
        now += delays[-1]
        delays.append(await background.finish_all())
    assert store.asked == registrations.MAX_TRIES and delays[:3] == [5.0, 10.0, 20.0] and max(delays[:-1]) == 600.0
    failed = await house.see(model_versions.get_model_version, bad["name"], bad["version"])
    assert failed["status"] == "FAILED_REGISTRATION" and "refuses access" in failed["status_message"]


async def test_of_several_workers_one_reads_a_version(house: House) -> None:
    """Whoever finds it taken leaves it and comes again; whoever dies with it gives it back."""
    row = await _pending(house)
    name = f"registration {row['uuid']}"
    other = Database(house.url)
    async with leases.lease(other, name) as held, leases.lease(house.database, name) as second:
        assert (held, second) == (True, False)
        assert await Registrations(house.database, house.artifacts).finish_all() is not None
        assert (await house.see(model_versions.get_model_version, row["name"], 1))["status"] == "PENDING_REGISTRATION"
    await other.close()

    async def finished() -> bool:
        return await Registrations(house.database, house.artifacts).finish_all() is None

    await until(finished)
    assert (await house.see(model_versions.get_model_version, row["name"], 1))["status"] == "READY"


async def test_no_transaction_is_open_while_the_store_is_asked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registering from a run, from a logged model, and finalizing: other writers never wait for an object store."""
    store, during = house.artifacts.store, []

    def watched(name: str) -> None:
        asked = getattr(type(store), name)

        def looked(self: Any, *args: Any, **options: Any) -> Any:
            during.append(house.database.connections_in_use)
            return asked(self, *args, **options)

        monkeypatch.setattr(type(store), name, looked)

    run_id, prefix = await house.run()
    await house.upload_all(f"{prefix}/model")
    model_id, _ = await house.log_model()
    await house.ensure("m")
    _, place = await _reserve(house)
    for path, body in MODEL_FILES.items():
        (place / path).write_bytes(body)
    for name in ("list", "head", "get"):
        watched(name)
    for source, options in (
        (f"runs:/{run_id}/model", {"run_id": run_id}),
        (f"models:/{model_id}", {"model_id": model_id}),
    ):
        assert (await house.create_version("m", source, **options))["status"] == "READY"
    assert (await _finalize(house, 1))["status"] == "READY"
    assert len(during) > 5 and not any(during)
