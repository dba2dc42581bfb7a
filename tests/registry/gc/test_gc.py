"""End of life: what was deleted goes after its time, what versions are made of stays, and leftovers are found."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select, update

from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist
from tiltyard_registry.gc import Plan, Report, collect, purge
from tiltyard_registry.rules.entries import Entry
from tiltyard_registry.rules.metrics import Point
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.experiments import experiments, logged_models
from tiltyard_registry.store.models import model_versions
from tiltyard_registry.store.principals import principals
from tiltyard_registry.store.principals.grants import GrantChange, change_grants
from tiltyard_registry.store.registration import reserved_versions
from tiltyard_registry.store.runs import bulk_deletion, log_batch, runs
from tiltyard_registry.store.sql.session import now_ms
from tiltyard_registry.tables.access import grants
from tiltyard_registry.tables.artifacts import files
from tiltyard_registry.tables.columns import metadata
from tiltyard_registry.tables.experiments import logged_models as model_rows
from tiltyard_registry.tables.runs import datasets, latest_metrics, metrics, params, run_tags
from tiltyard_registry.tables.runs import runs as run_rows

DAY_MS = 86_400_000
NOW = Plan(older_than_ms=-1000, grace_ms=-1000)
"""Everything that is deleted is due, everything that is left over is old."""


@pytest_asyncio.fixture(params=["sqlite-local", "postgres-s3"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """An empty registry on each database, one over a directory and one over a bucket."""
    database, _, store = request.param.partition("-")
    url = request.getfixturevalue("sqlite_url" if database == "sqlite" else "emptied_postgres_url")
    root = (tmp_path / "artifacts").as_uri() if store == "local" else request.getfixturevalue("s3_uri") + "/root"
    opened = House(url if database == "sqlite" else url(), root)
    yield opened
    await opened.database.close()


async def gc(house: House, plan: Plan = NOW) -> Report:
    return await collect(house.database, house.artifacts, plan)


async def count(house: House, table: Any) -> int:
    async with house.database.read() as session:
        found: int = await session.scalar(select(func.count()).select_from(table))
        return found


async def stored(house: House) -> set[str]:
    return {entry.path async for entry in house.artifacts.store.list("", recursive=True)}


async def logged_run(house: House, experiment_id: str = "0", *, points: int = 3, body: bytes = b"12345") -> str:
    """The id of a run with something in every table, and one file."""
    run = await house.do(runs.create_run, experiment_id)
    run_id: str = run["info"]["run_id"]
    await house.do(
        log_batch.log_batch,
        run_id,
        metrics=[Point("m", float(n), n // 2, n, False) for n in range(points)],
        params=[Entry("p", "1")],
        tags=[Entry("t", "1")],
    )
    await house.upload(f"{house.prefix(run['info']['artifact_uri'])}/f", body)
    return run_id


async def test_a_run_is_kept_for_its_time_and_then_goes_with_all_it_had(house: House) -> None:
    """Thirty days; rows of every kind, files and their hashes; another run keeps everything."""
    gone, stays = await logged_run(house), await logged_run(house)
    await house.do(runs.delete_run, gone)
    assert (await gc(house, Plan())).runs == 0
    async with house.database.write() as session:
        old = int(time.time() * 1000) - 31 * DAY_MS
        await session.execute(update(run_rows).where(run_rows.c.run_id == gone).values(deleted_time=old))
    report = await gc(house, Plan())
    assert (report.runs, report.purged.files, report.purged.size_bytes) == (1, 1, 5)
    with pytest.raises(ResourceDoesNotExist):
        await house.see(runs.get_run, gone)
    assert await stored(house) == {f"0/{stays}/artifacts/f"}
    tables = (run_rows, params, latest_metrics, metrics, files)
    assert [await count(house, table) for table in tables] == [1, 1, 1, 3, 1]
    assert {row["key"] for row in (await house.see(runs.get_run, stays))["data"]["tags"]} >= {"t"}
    assert (await gc(house)).runs == 0


async def test_a_dry_run_says_the_same_and_changes_nothing(house: House) -> None:
    """Counts and bytes are those of the real one, runs inside experiments counted once."""
    experiment = await house.do(experiments.create_experiment, "gone")
    await logged_run(house, experiment)
    deleted = await logged_run(house, experiment)
    await house.do(runs.delete_run, deleted)
    model = await house.do(logged_models.create_logged_model, experiment, name="x")
    await house.upload(f"{house.prefix(model['info']['artifact_uri'])}/MLmodel", b"abc")
    await house.upload(f"{experiment}/notes.txt", b"1")
    await house.do(experiments.delete_experiment, experiment)
    before = await stored(house), [await count(house, table) for table in metadata.sorted_tables]
    dry = await gc(house, Plan(older_than_ms=-1000, grace_ms=-1000, dry_run=True))
    assert (await stored(house), [await count(house, table) for table in metadata.sorted_tables]) == before
    real = await gc(house)
    assert dry.dry_run and not real.dry_run
    dry.dry_run = False
    assert dry == real
    assert (real.runs, real.logged_models, real.experiments) == (2, 1, 1)
    assert (real.purged.files, real.purged.size_bytes) == (4, 14)
    assert await stored(house) == set() and await count(house, datasets) == 0


async def test_a_purged_experiments_name_is_free_again(house: House) -> None:
    """Under another id; before the purge the name is taken."""
    first = await house.do(experiments.create_experiment, "name")
    await house.do(experiments.delete_experiment, first)
    await gc(house)
    second = await house.do(experiments.create_experiment, "name")
    assert int(second) > int(first)


async def test_what_was_granted_on_an_experiment_goes_when_it_is_purged(house: House) -> None:
    """Not before: one that is deleted can be restored, with who may read it. A dry run takes nothing."""
    await house.do(principals.create_principal, "group", "team")
    experiment = await house.do(experiments.create_experiment, "name")
    await house.do(change_grants, "experiment", experiment, [GrantChange("team", ["READ"])])
    await house.do(experiments.delete_experiment, experiment)
    await gc(house, Plan(dry_run=True))

    async def count() -> int:
        async with house.database.read() as session:
            return int(await session.scalar(select(func.count()).select_from(grants)))

    assert await count() == 1
    await gc(house)
    assert await count() == 0


async def test_the_default_experiment_is_emptied_and_stays(house: House) -> None:
    """Clients that name no experiment rely on it, so only its runs go, and it can be restored."""
    run_id = await logged_run(house)
    await house.do(experiments.delete_experiment, "0")
    report = await gc(house)
    assert (report.runs, report.experiments) == (1, 0)
    await house.do(experiments.restore_experiment, "0")
    with pytest.raises(ResourceDoesNotExist):
        await house.see(runs.get_run, run_id)


async def test_what_a_version_is_made_of_stays_when_its_run_goes(house: House) -> None:
    """The rest of the run's files go; the version still reads, and every byte of it is where its manifest says."""
    experiment = await house.do(experiments.create_experiment, "gone")
    run = (await house.do(runs.create_run, experiment))["info"]
    prefix = house.prefix(run["artifact_uri"])
    await house.upload_all(f"{prefix}/model", {"MLmodel": b"flavors: {}\n", "deep/weights": b"12345"})
    await house.upload(f"{prefix}/model.txt", b"beside")
    await house.ensure("m")
    row = await house.create_version("m", f"runs:/{run['run_id']}/model", run_id=run["run_id"])
    await house.do(experiments.delete_experiment, experiment)
    report = await gc(house)
    assert (report.runs, report.experiments) == (1, 1)
    assert (report.purged.files, report.purged.size_bytes) == (1, 6)
    assert (report.pinned.files, report.pinned.size_bytes) == (2, 17)
    assert await stored(house) == {f"{prefix}/model/MLmodel", f"{prefix}/model/deep/weights"}
    assert (report.missing, report.orphans.files) == (0, 0)
    version = await house.see(model_versions.get_model_version, "m", row["version"])
    assert version["status"] == "READY"
    # Once nothing is made of them, they are files that no row knows.
    await house.do(model_versions.delete_model_version, "m", row["version"])
    assert (await gc(house)).orphans.files == 2
    await house.run()
    await logged_run(house)
    swept = await gc(house, Plan(older_than_ms=-1000, grace_ms=-1000, delete_orphans=True))
    assert (swept.orphans.files, swept.orphans.size_bytes, swept.orphans_removed) == (2, 17, True)
    assert len(await stored(house)) == 1


async def test_a_deleted_logged_model_goes_and_its_versions_stay(house: House) -> None:
    """Rows of one and files of the other are different things."""
    loose, _ = await house.log_model(name="loose")
    made, prefix = await house.log_model(name="made")
    await house.ensure("m")
    await house.create_version("m", f"models:/{made}", model_id=made)
    for model_id in (loose, made):
        await house.do(logged_models.delete_logged_model, model_id)
    report = await gc(house)
    assert (report.logged_models, await count(house, model_rows)) == (2, 0)
    assert await stored(house) == {f"{prefix}/MLmodel", f"{prefix}/model.pkl"}
    assert report.pinned.files == 2


async def test_what_was_restored_in_time_is_not_touched(house: House) -> None:
    """A run that is active again, and one whose deletion is young."""
    back, young = await logged_run(house), await logged_run(house)
    for run_id in (back, young):
        await house.do(runs.delete_run, run_id)
    await house.do(runs.restore_run, back)
    report = await gc(house, Plan(older_than_ms=DAY_MS))
    assert report.runs == 0 and await count(house, run_rows) == 2 and len(await stored(house)) == 2


async def test_what_is_being_purged_cannot_come_back(house: House) -> None:
    """A run half removed is neither restored nor deleted anew nor registered from, and the next call ends it."""
    run_id = await logged_run(house)
    await house.do(runs.delete_run, run_id)
    async with house.database.write() as session:
        await session.execute(update(run_rows).values(lifecycle_stage="purging"))
    for door in (runs.restore_run, runs.delete_run):
        with pytest.raises(ResourceDoesNotExist):
            await house.do(door, run_id)
    assert await house.do(bulk_deletion.restore_runs, "0", 0) == 0
    await house.ensure("m")
    with pytest.raises(ResourceDoesNotExist):
        await house.create_version("m", f"runs:/{run_id}/f", run_id=run_id)
    assert (await gc(house, Plan())).runs == 1
    assert await stored(house) == set()


async def test_many_points_go_in_small_steps(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's bound never leaves a point behind nor stands still, even when many points share a time."""
    monkeypatch.setattr(purge, "POINTS_AT_ONCE", 7)
    monkeypatch.setattr(purge, "BATCH", 2)
    monkeypatch.setattr(purge, "FILES_AT_ONCE", 2)
    ids = [await logged_run(house, points=100) for _ in range(5)]
    await house.do(log_batch.log_batch, ids[0], metrics=[Point("same", float(n), 1, 0, False) for n in range(60)])
    for path in ("a", "b", "c/d", "c/e", "f"):
        await house.upload(f"0/{ids[0]}/artifacts/{path}", b"1")
    for run_id in ids[:4]:
        await house.do(runs.delete_run, run_id)
    report = await gc(house)
    assert (report.runs, report.purged.files) == (4, 8)
    assert [await count(house, table) for table in (run_rows, metrics, run_tags)] == [1, 100, 2]


async def test_only_what_is_named_goes(house: House) -> None:
    """As with upstream's command: ids of deleted ones, whatever their age unless one is asked for."""
    one, other, active = [await logged_run(house) for _ in range(3)]
    for run_id in (one, other):
        await house.do(runs.delete_run, run_id)
    assert (await gc(house, Plan(run_ids=[one]))).runs == 1
    wrong: list[Plan] = [
        Plan(run_ids=[active]),
        Plan(run_ids=["nobody"]),
        Plan(run_ids=[other], older_than_ms=DAY_MS),
        Plan(experiment_ids=["0"]),
        Plan(experiment_ids=["x"]),
        Plan(logged_model_ids=["m-0"]),
    ]
    for plan in wrong:
        with pytest.raises(InvalidParameterValue):
            await gc(house, plan)
    assert await count(house, run_rows) == 2
    experiment = await house.do(experiments.create_experiment, "named")
    await logged_run(house, experiment)
    await house.do(experiments.delete_experiment, experiment)
    report = await gc(house, Plan(experiment_ids=[experiment]))
    assert (report.experiments, report.runs) == (1, 1)


async def test_store_and_database_are_held_against_each_other(house: House) -> None:
    """Orphans, strangers, hashes of nothing, and a version's file that somebody took away."""
    run_id = await logged_run(house)
    _, prefix = await house.log_model()
    await house.register("m")
    version = (await house.register("m"))["version"]
    place = house.prefix((await house.see(model_versions.get_model_version, "m", version))["storage_location"])
    orphan = f"7/{'ab' * 16}/artifacts/x/y"
    await put(house, orphan, "team/report.csv", f"elsewhere/1/{'cd' * 16}/artifacts/x", "0/notes.txt")
    await house.artifacts.store.delete_files([f"{place}/model.pkl", f"0/{run_id}/artifacts/f"])
    young = await gc(house, Plan())
    assert young.orphans.files == 0
    report = await gc(house)
    assert (report.orphans.files, report.orphans.size_bytes, report.orphan_places) == (1, 4, [f"7/{'ab' * 16}"])
    assert (report.unknown.files, report.unknown.size_bytes) == (2, 8)
    assert (report.missing, report.missing_files) == (1, [f"m/{version}: model.pkl"])
    assert young.forgotten_hashes == 2 and report.forgotten_hashes == 0
    assert orphan in await stored(house)
    swept = await gc(house, Plan(grace_ms=-1000, delete_orphans=True))
    assert (swept.orphans.files, swept.orphans_removed) == (1, True)
    left = await stored(house)
    assert orphan not in left and {"team/report.csv", "0/notes.txt"} <= left
    assert {f"{prefix}/MLmodel", f"{prefix}/model.pkl"} <= left


async def test_a_database_that_knows_nothing_of_the_store_removes_nothing(house: House, sqlite_url: str) -> None:
    """The wrong database, named by mistake, sees orphans alone; that is no reason to remove them."""
    await logged_run(house)
    wrong = House(sqlite_url.replace("tiltyard.db", "other.db"), house.artifacts.root)
    source = Path(sqlite_url.partition(":///")[2])
    source.with_name("other.db").write_bytes(source.read_bytes())
    if house.url.startswith("sqlite"):
        async with wrong.database.write() as session:
            for table in reversed(metadata.sorted_tables):
                if table.name not in ("catalogs", "schemas", "experiments"):
                    await session.execute(table.delete())
    report = await collect(wrong.database, wrong.artifacts, Plan(grace_ms=-1000, delete_orphans=True))
    await wrong.database.close()
    assert (report.orphans.files, report.orphans_removed) == (1, False)
    assert len(await stored(house)) == 1


async def test_files_in_a_shared_or_foreign_place_are_left(house: House) -> None:
    """Two experiments over one directory; a place outside the root is not ours to remove from."""
    shared = [
        await house.do(experiments.create_experiment, name, artifact_location="mlflow-artifacts:/team")
        for name in ("one", "two")
    ]
    ids = [await logged_run(house, experiment) for experiment in shared]
    away = await house.do(experiments.create_experiment, "away", artifact_location="s3://elsewhere/x")
    run = await house.do(runs.create_run, away)
    for experiment in (shared[0], away):
        await house.do(experiments.delete_experiment, experiment)
    report = await gc(house)
    assert (report.runs, report.experiments, report.elsewhere) == (2, 2, 1)
    assert run["info"]["artifact_uri"].startswith("s3://elsewhere")
    assert await stored(house) == {f"team/{ids[1]}/artifacts/f"}


async def put(house: House, *paths: str) -> None:
    """Files that somebody writes into the store past the registry."""
    for path in paths:
        async with house.artifacts.store.open_writer(path) as writer:
            await writer.write(b"1234")
            await writer.commit()


@pytest.mark.parametrize("home", ["team-b", "team-b/deep", "77", "__unitystorage"])
async def test_an_experiment_takes_no_files_of_others_with_it(house: House, home: str) -> None:
    """Where a client chose its place only what lies there as runs and logged models lie goes; dry runs say so."""
    others = {f"{home}/important/file.bin", f"{home}/{'ab' * 16}/data.bin", f"{home}/models/weights", f"{home}/top"}
    others |= {f"{home}/models/some-uuid/versions/another-uuid/MLmodel"}
    await put(house, *others)
    await house.upload(f"{home}/sent/through.us", b"1")
    others.add(f"{home}/sent/through.us")
    experiment = await house.do(experiments.create_experiment, "x", artifact_location=f"mlflow-artifacts:/{home}")
    await logged_run(house, experiment)
    await put(house, f"{home}/{'cd' * 16}/artifacts/late")
    await house.do(experiments.delete_experiment, experiment)
    dry = await gc(house, Plan(experiment_ids=[experiment], dry_run=True))
    report = await gc(house, Plan(experiment_ids=[experiment]))
    assert await stored(house) == others
    assert (report.experiments, report.runs, report.purged.files) == (1, 1, 2)
    assert report.foreign.files == len(others) and (dry.purged, dry.foreign) == (report.purged, report.foreign)
    assert any("not the registry's, left alone" in line for line in report.lines())


async def test_a_version_that_is_being_uploaded_survives_an_experiment_over_it(house: House) -> None:
    """Its files are not pinned yet, and its place is below the one that a client gave an experiment."""
    await house.ensure("m")
    version = await house.do(reserved_versions.create_pending_version, house.artifacts, "m", "s3://elsewhere/x")
    place = house.prefix(version["storage_location"])
    await put(house, f"{place}/MLmodel")
    for name, home in (("root", "__unitystorage"), ("exact", place)):
        number = await house.do(experiments.create_experiment, name, artifact_location=f"mlflow-artifacts:/{home}")
        await house.do(experiments.delete_experiment, number)
        await gc(house, Plan(experiment_ids=[number]))
        assert await stored(house) == {f"{place}/MLmodel"}


async def test_leftovers_of_interrupted_uploads_go_after_their_grace(house: House) -> None:
    """Bytes of uploads that nobody ended, on each store; one that may be under way stays."""
    store = house.artifacts.store
    root = house.artifacts.local_root
    if root is not None:
        for name, days in (("old", 2), ("fresh", 0)):
            path = root / ".uploads" / name
            path.write_bytes(b"123")
            os.utime(path, (time.time() - days * 86_400,) * 2)
        assert [upload.size_bytes async for upload in store.list_uploads()] == [3, 3]
    else:
        assert store.direct is not None
        # The test server says of every upload that it began in 2010.
        await store.direct.create_upload(f"1/{'ab' * 16}/artifacts/x", 1)
        await store.direct.create_upload("of/somebody/else", 1)
    await house.ensure("m")
    dry = await gc(house, Plan(dry_run=True))
    report = await gc(house, Plan())
    assert (dry.uploads, report.uploads.files) == (report.uploads, 1)
    left = [upload.path or upload.upload_id async for upload in store.list_uploads()]
    assert left == (["fresh"] if root is not None else ["of/somebody/else"])


@pytest.mark.parametrize("noun", ["run", "logged model", "experiment"])
async def test_a_deletion_at_a_moment_of_a_slow_clock_is_not_old(
    house: House, monkeypatch: pytest.MonkeyPatch, noun: str
) -> None:
    """What is deleted while the clock is a hundred days slow is kept for its time like everything else."""
    await house.ensure("m")
    with monkeypatch.context() as slow:
        slow.setattr("tiltyard_registry.store.events.outbox.now_ms", lambda: now_ms() - 100 * DAY_MS)
        if noun == "run":
            await house.do(runs.delete_run, await logged_run(house))
        elif noun == "experiment":
            await house.do(experiments.delete_experiment, await house.do(experiments.create_experiment, "e"))
        else:
            model_id, _ = await house.log_model()
            await house.do(logged_models.delete_logged_model, model_id)
    report = await gc(house, Plan())
    assert (report.runs, report.logged_models, report.experiments) == (0, 0, 0)


async def test_a_collection_at_a_moment_of_a_fast_clock_removes_nothing_early(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ages count up to a time that two looks at clocks prove; the report says so, and the next collection goes on."""
    run_id = await logged_run(house)
    await house.do(runs.delete_run, run_id)
    orphan = f"0/{'ab' * 16}/artifacts/f"
    await put(house, orphan)

    async def collected(off_ms: int) -> Report:
        with monkeypatch.context() as clock:
            # The package shows the function of that name in the place of the module.
            for module in (sys.modules["tiltyard_registry.gc.collect"], outbox):
                clock.setattr(module, "now_ms", lambda: now_ms() + off_ms)
            return await gc(house, Plan(delete_orphans=True))

    for off_ms in (60 * 365 * DAY_MS, 0, 31 * DAY_MS):
        report = await collected(off_ms)
        assert (report.runs, report.orphans.files, report.uploads.files) == (0, 0, 0)
    assert report.ages_until_ms and any("Ages were counted up to" in line for line in report.lines())
    report = await collected(31 * DAY_MS)
    assert (report.runs, report.orphans.files, report.ages_until_ms) == (1, 1, None)


async def test_a_version_registered_meanwhile_is_whole_or_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registering from deleted runs races with their removal: no version is ever made of half a model."""
    monkeypatch.setattr(purge, "FILES_AT_ONCE", 1)
    ids = []
    for _ in range(6):
        run = (await house.do(runs.create_run, "0"))["info"]
        await house.upload_all(f"{house.prefix(run['artifact_uri'])}/model", {"MLmodel": b"1", "a": b"2", "b": b"3"})
        await house.do(runs.delete_run, run["run_id"])
        ids.append(run["run_id"])
    await house.ensure("m")

    async def register(run_id: str) -> int:
        try:
            row = await house.create_version("m", f"runs:/{run_id}/model", run_id=run_id)
        except ResourceDoesNotExist:
            return 0
        return int(row["version"])

    report, *versions = await asyncio.gather(gc(house), *map(register, ids))
    assert report.runs == 6
    again = await gc(house)
    assert (again.missing, again.orphans.files) == (0, 0)
    whole = [version for version in versions if version]
    assert len(await stored(house)) == 3 * len(whole)
