"""A store may be slow: while it is asked, whoever asks holds no transaction and no connection, and others write."""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tests.registry.api_app import MLFLOW, opened
from tests.registry.asked_store import AskedStore
from tests.registry.store_house import ALICE, House
from tests.storage.test_direct import send
from tiltyard.errors import NothingDone, ResourceConflict
from tiltyard.storage import open_store
from tiltyard.storage.artifact_store import CHUNK_BYTES
from tiltyard_registry.background.registrations import Registrations
from tiltyard_registry.gc import Plan, collect
from tiltyard_registry.store.artifacts import direct_transfers, paths
from tiltyard_registry.store.artifacts import files as artifacts
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.experiments import experiments
from tiltyard_registry.store.models import model_versions, registered_models
from tiltyard_registry.store.registration import freeze, new_versions, reserved_versions
from tiltyard_registry.store.runs import runs
from tiltyard_registry.store.sql.database import Database


class Watched(House):
    """A registry whose store has another process write in the middle of everything that it is asked for."""

    def __init__(self, database_url: str, artifact_root: str) -> None:
        super().__init__(database_url, artifact_root)
        self.asked: list[str] = []
        self.other = Database(database_url)
        self._names: Iterator[int] = count()
        store: Any = AskedStore(open_store(artifact_root), self.look)
        self.artifacts = ArtifactRoot(store, artifact_root)

    async def look(self, what: str) -> None:
        assert self.database.connections_in_use == 0, what
        async with asyncio.timeout(20), self.other.write() as session:
            await experiments.create_experiment(session, ALICE, f"{what}-{next(self._names)}")
        self.asked.append(what)

    def takes(self) -> list[str]:
        """What the store was asked for since the last call."""
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture(params=["sqlite-local", "postgres-s3", "sqlite-s3"])
async def house(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """A watched registry on each database, over a directory and over a bucket."""
    database, _, store = request.param.partition("-")
    url = request.getfixturevalue("sqlite_url" if database == "sqlite" else "emptied_postgres_url")
    root = (tmp_path / "artifacts").as_uri() if store == "local" else request.getfixturevalue("s3_uri") + "/root"
    opened = Watched(url if database == "sqlite" else url(), root)
    yield opened
    await opened.database.close()
    await opened.other.close()


async def put_behind(house: Watched, path: str, body: bytes) -> None:
    """Stores a file as others do, so that nobody has hashed it."""
    async with house.artifacts.store.within.open_writer(path) as writer:  # type: ignore[attr-defined]
        await writer.write(body)
        await writer.commit()


async def test_others_write_while_files_are_published_and_deleted(house: Watched) -> None:
    """Uploads, deletions of a file, of a run and of what lies above the runs."""
    _, prefix = await house.run()
    await house.upload_all(f"{prefix}/m")
    assert set(house.takes()) == {"commit"}
    store = house.artifacts.store
    await artifacts.delete(house.database, ALICE, store, f"{prefix}/m/MLmodel")
    assert set(house.takes()) == {"list", "delete"}
    await artifacts.delete(house.database, ALICE, store, prefix.partition("/")[0])
    assert {"list", "delete"} == set(house.takes())
    assert [entry async for entry in store.list("", recursive=True)] == []


async def test_what_is_large_or_must_wait_is_sent_before_its_turn(house: Watched) -> None:
    """A small file is written and published at one go, unless others hold the scope: it waits for them in the store."""
    _, prefix = await house.run()
    await house.upload(f"{prefix}/small", b"x")
    assert house.takes() == ["commit"]
    await house.upload(f"{prefix}/large", bytes(CHUNK_BYTES + 1))
    assert house.takes() == ["seal", "commit"]
    async with house.database.scopes.alone(paths.scope_of(prefix) or prefix):
        waiting = asyncio.create_task(house.upload(f"{prefix}/small", b"y"))
        await until(lambda: house.asked)
        assert house.takes() == ["seal"]
    await waiting
    assert house.takes() == ["commit"]


async def test_others_write_while_a_version_is_registered(house: Watched) -> None:
    """Versions of uploaded and of unknown files, finished at once and by the background; reserved ones too."""
    await house.ensure("m")
    model_id, prefix = await house.log_model()
    await put_behind(house, f"{prefix}/more.bin", b"more")
    version = await house.create_version("m", f"models:/{model_id}", model_id=model_id)
    assert version["status"] == "READY" and {"list", "get"} <= set(house.takes())
    reserved = await house.do(reserved_versions.create_pending_version, house.artifacts, "m", "dbfs:/x")
    await put_behind(house, f"{house.prefix(reserved['storage_location'])}/MLmodel", b"flavors: {}")
    done = await new_versions.finalize_version(house.database, ALICE, house.artifacts, "m", reserved["version"])
    assert done["status"] == "READY" and {"head", "list", "get"} <= set(house.takes())


async def test_others_write_while_the_background_reads(house: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registration that is left to the background, whatever it has to read."""
    monkeypatch.setattr(freeze, "HASHED_AT_ONCE_BYTES", 0)
    await house.ensure("m")
    model_id, prefix = await house.log_model()
    await put_behind(house, f"{prefix}/more.bin", b"more")
    version = await house.create_version("m", f"models:/{model_id}", model_id=model_id)
    assert version["status"] == "PENDING_REGISTRATION"
    house.takes()
    assert await Registrations(house.database, house.artifacts).finish_all() is None
    assert {"list", "get"} <= set(house.takes())
    assert (await house.see(model_versions.get_model_version, "m", 1))["status"] == "READY"


async def test_others_write_while_the_end_of_life_is_carried_out(house: Watched) -> None:
    """Files of a purged experiment go, those that a version pins stay, and the store is held against the database."""
    experiment = await house.do(experiments.create_experiment, "gone")
    run = await house.do(runs.create_run, experiment)
    prefix = house.prefix(run["info"]["artifact_uri"])
    await house.upload_all(f"{prefix}/m")
    await house.upload_all(f"{prefix}/free")
    await house.do(registered_models.create_registered_model, "m")
    run_id = run["info"]["run_id"]
    await house.create_version("m", f"runs:/{run_id}/m", run_id=run_id)
    await house.do(experiments.delete_experiment, experiment)
    house.takes()
    report = await collect(house.database, house.artifacts, Plan(older_than_ms=-1000, grace_ms=-1000))
    assert (report.experiments, report.purged.files, report.pinned.files) == (1, 2, 2)
    assert {"list", "delete_files", "list_uploads"} <= set(house.takes())


async def test_no_connection_is_held_while_directories_are_listed(tmp_path: Any) -> None:
    """A page that lists the files of runs and logged models holds up nobody, however slow the store is."""
    async with opened(tmp_path) as api:
        run = (await api.ok("POST", f"{MLFLOW}/runs/create", {"experiment_id": "0"}))["run"]["info"]
        model = (await api.ok("POST", f"{MLFLOW}/logged-models", {"experiment_id": "0"}))["model"]["info"]
        asked: list[str] = []

        async def look(what: str) -> None:
            # The background may hold one for a moment.
            await until(lambda: not api.app.state.database.connections_in_use)
            asked.append(what)

        real: ArtifactRoot = api.app.state.artifacts
        api.app.state.artifacts = ArtifactRoot(AskedStore(real.store, look), real.root)  # type: ignore[arg-type]
        await api.ok("GET", f"{MLFLOW}/artifacts/list", params={"run_id": run["run_id"]})
        await api.ok("GET", f"{MLFLOW}/logged-models/{model['model_id']}/artifacts/directories")
        assert asked == ["list", "list"]


async def test_others_write_while_an_upload_in_parts_is_completed(house: Watched) -> None:
    """Where clients send parts past the registry."""
    direct = house.artifacts.store.direct
    if "s3" not in house.artifacts.root:
        return
    assert direct is not None
    _, prefix = await house.run()
    upload_id, (url,) = await direct.create_upload(f"{prefix}/f", 1)
    etag = await asyncio.to_thread(send, url, b"whole")
    await direct_transfers.complete_upload(house.database, ALICE, direct, f"{prefix}/f", upload_id, [(1, etag)])
    assert house.takes() == ["complete_upload"]
    assert (await house.artifacts.store.head(f"{prefix}/f")).size_bytes == 5


async def test_what_is_being_changed_is_pinned_once_the_change_is_done(house: Watched) -> None:
    """A registration waits for an upload that has begun to be published, of another process too; others do not."""
    one, other = House(house.url, house.artifacts.root), House(house.url, house.artifacts.root)
    await one.ensure("m")
    model_id, prefix = await one.log_model()
    publishing, go_on = asyncio.Event(), asyncio.Event()

    async def slow(what: str) -> None:
        if what == "commit":
            publishing.set()
            await go_on.wait()

    other.artifacts = ArtifactRoot(AskedStore(open_store(other.artifacts.root), slow), other.artifacts.root)  # type: ignore[arg-type]
    upload = asyncio.ensure_future(other.upload(f"{prefix}/model.pkl", b"newer"))
    await publishing.wait()
    with pytest.raises(NothingDone, match="being changed"):
        async with one.database.scopes.alone(paths.scope_of(prefix) or "", wait_s=0.0):
            raise AssertionError("two at once")
    registered = asyncio.ensure_future(one.create_version("m", f"models:/{model_id}", model_id=model_id))
    await one.register("n")
    assert not registered.done()
    go_on.set()
    await upload
    version = await registered
    with pytest.raises(ResourceConflict):
        await other.upload(f"{prefix}/model.pkl", b"newest")
    files = (await one.see(model_versions.get_manifest, "m", version["version"]))["files"]
    assert {file["path"]: file["size_bytes"] for file in files}["model.pkl"] == 5
    await one.database.close()
    await other.database.close()
