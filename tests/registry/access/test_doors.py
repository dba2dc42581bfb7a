"""What grants let through beyond one object: who owns what they made, sources, files of versions, events, schemas."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.registry.access.callers import OWNER, READER, STRANGER, grant, revoke
from tests.registry.store_house import ALICE, House, once
from tiltyard.errors import PermissionDenied, ResourceConflict, ResourceDoesNotExist, TiltyardError
from tiltyard_registry.rules.access import Kind, Principal, Privilege
from tiltyard_registry.store.artifacts import direct_transfers, files
from tiltyard_registry.store.events import history
from tiltyard_registry.store.experiments import experiments, logged_models
from tiltyard_registry.store.models import (
    aliases,
    batch_jobs,
    change_set,
    model_versions,
    registered_models,
    resolution,
    search,
)
from tiltyard_registry.store.namespaces import catalogs, schemas
from tiltyard_registry.store.one_statement.resolve import read_resolved
from tiltyard_registry.store.registration import new_versions, reserved_versions
from tiltyard_registry.store.registration.create_version import NewVersion
from tiltyard_registry.store.runs import runs
from tiltyard_registry.tables.access import grants

P = Privilege
Door = Callable[..., Awaitable[Any]]
MODEL = "acme.ml.iris"


async def ask(house: House, who: Principal, door: Door, *args: Any, **options: Any) -> Any:
    """What a door answers somebody, in a transaction of its own."""
    async with house.database.write() as session:
        return await door(session, who, *args, **options)


async def ids(house: House, name: str = MODEL) -> dict[Kind, int]:
    """The ids of a model and of what lies above it."""
    async with house.database.read() as session:
        model = (await search.search_registered_models(session, ALICE, f"name = '{name}'"))[0][0]
        catalog_name, schema_name, _ = name.split(".")
        schema = await schemas.get_schema(session, ALICE, catalog_name, schema_name)
    return {Kind.MODEL: model["id"], Kind.SCHEMA: schema["id"], Kind.CATALOG: schema["catalog_id"]}


async def let_in(house: House, who: Principal, privileges: Privilege, name: str = MODEL) -> None:
    """Grants privileges on a model, and the use of its containers."""
    of = await ids(house, name)
    await grant(house.database, who.id or 0, Kind.CATALOG, of[Kind.CATALOG], P.USE_CATALOG)
    await grant(house.database, who.id or 0, Kind.SCHEMA, of[Kind.SCHEMA], P.USE_SCHEMA)
    await grant(house.database, who.id or 0, Kind.MODEL, of[Kind.MODEL], privileges)


async def refusal(house: House, who: Principal, door: Door, *args: Any, **options: Any) -> str:
    """The message of a door's refusal."""
    with pytest.raises(TiltyardError) as refused:
        await ask(house, who, door, *args, **options)
    return refused.value.message


async def test_who_creates_something_owns_it(house: House) -> None:
    """An owner may do everything to it, the manager of a container may manage what others make in it."""
    for privilege in (P.CREATE_CATALOG, P.CREATE_EXPERIMENT):
        await grant(house.database, OWNER.id or 0, Kind.ROOT, 0, privilege)
    await ask(house, OWNER, registered_models.create_registered_model, MODEL)
    experiment = await ask(house, OWNER, experiments.create_experiment, "mine")
    await ask(house, OWNER, registered_models.update_registered_model, MODEL, description="d")
    await ask(house, OWNER, runs.create_run, experiment)
    await ask(house, OWNER, experiments.rename_experiment, experiment, "mine still")
    await ask(house, OWNER, schemas.create_schema, "acme", "other")
    of = await ids(house)
    await grant(house.database, READER.id or 0, Kind.SCHEMA, of[Kind.SCHEMA], P.CREATE_MODEL | P.USE_SCHEMA)
    await grant(house.database, READER.id or 0, Kind.CATALOG, of[Kind.CATALOG], P.USE_CATALOG)
    await ask(house, READER, registered_models.create_registered_model, "acme.ml.theirs")
    await ask(house, OWNER, registered_models.update_registered_model, "acme.ml.theirs", description="managed")
    await house.external("acme.ml.theirs")
    denied = "Principal 'owner' lacks EXECUTE on registered model acme.ml.theirs."
    assert await refusal(house, OWNER, model_versions.get_manifest, "acme.ml.theirs", 1) == denied
    assert "version" in await ask(house, READER, model_versions.get_manifest, "acme.ml.theirs", 1)


async def test_what_was_granted_goes_with_what_it_was_granted_on(house: House) -> None:
    """Nothing is left of grants on a model, schema or catalog that is deleted, for another may get its number."""
    await ask(house, ALICE, registered_models.create_registered_model, MODEL)
    await let_in(house, READER, P.EXECUTE)
    await ask(house, ALICE, registered_models.delete_registered_model, MODEL)
    assert {row["securable_type"] for row in await granted(house)} == {Kind.SCHEMA, Kind.CATALOG}
    await ask(house, ALICE, schemas.delete_schema, "acme", "ml")
    assert {row["securable_type"] for row in await granted(house)} == {Kind.CATALOG}
    await ask(house, ALICE, schemas.create_schema, "acme", "ml")
    of_schema = (await ask(house, ALICE, schemas.get_schema, "acme", "ml"))["id"]
    await grant(house.database, READER.id or 0, Kind.SCHEMA, of_schema, P.BROWSE)
    await ask(house, ALICE, catalogs.delete_catalog, "acme", force=True)
    assert await granted(house) == []


async def granted(house: House) -> list[Any]:
    """Every row of grants."""
    async with house.database.read() as session:
        return list(await session.all(grants.select()))


async def test_a_grant_holds_until_it_is_taken_back(house: House) -> None:
    """The next question after a revocation is answered without the grant."""
    await house.ensure(MODEL)
    missing = await refusal(house, READER, registered_models.get_registered_model, MODEL)
    await let_in(house, READER, P.SET_ALIAS)
    assert (await ask(house, READER, registered_models.get_registered_model, MODEL))["name"] == MODEL
    await revoke(house.database, READER.id or 0)
    assert await refusal(house, READER, registered_models.get_registered_model, MODEL) == missing


async def test_browsing_takes_no_use_and_shows_no_files(house: House) -> None:
    """BROWSE from above lets one see, search and read the history, and neither resolve nor read."""
    await house.external(MODEL)
    await grant(house.database, READER.id or 0, Kind.CATALOG, (await ids(house))[Kind.CATALOG], P.BROWSE)
    rows, _ = await ask(house, READER, search.search_registered_models)
    assert [row["name"] for row in rows] == [MODEL]
    rows, _ = await ask(house, READER, search.search_model_versions)
    assert [row["name"] for row in rows] == [MODEL]
    denied = f"Principal 'reader' lacks EXECUTE on registered model {MODEL}."
    for door, args in (
        (model_versions.get_manifest, (MODEL, 1)),
        (model_versions.get_model_version_download_uri, (MODEL, 1)),
        (model_versions.get_storage_location, (MODEL, 1)),
    ):
        assert await refusal(house, READER, door, *args) == denied
    (entry,) = await ask(house, READER, resolution.resolve, [f"models:/{MODEL}/1"])
    assert (entry["error_code"], entry["message"]) == ("PERMISSION_DENIED", denied)
    (entry,) = await ask(house, STRANGER, resolution.resolve, [f"models:/{MODEL}/1"])
    assert entry["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    for who in (READER, STRANGER):
        assert await read_resolved(house.database, who, [f"models:/{MODEL}/1"]) is None
    await let_in(house, READER, P.EXECUTE)
    (found,) = await read_resolved(house.database, READER, [f"models:/{MODEL}/1"]) or ()
    assert found["version"] == 1


async def test_sources_that_one_may_not_read_are_as_absent(house: House) -> None:
    """A version is made of a run, logged model or version only by who may read it; nobody learns that one is there."""
    run_id, prefix = await house.run()
    await house.upload_all(f"{prefix}/model")
    model_id, _ = await house.log_model()
    await house.register("acme.ml.secret")
    await house.ensure(MODEL)
    await let_in(house, READER, P.CREATE_MODEL_VERSION)

    async def register(who: Principal, source: str, **named: Any) -> Any:
        return await new_versions.create_version(
            house.database, who, house.artifacts, MODEL, NewVersion(source, **named)
        )

    cases: list[tuple[str, dict[str, str], str]] = [
        (f"runs:/{run_id}/model", {"run_id": run_id}, run_id),
        (f"mlflow-artifacts:/{prefix}/model", {"run_id": run_id}, run_id),
        (f"models:/{model_id}", {"model_id": model_id}, model_id),
        ("models:/acme.ml.secret/1", {}, "acme.ml.secret"),
    ]
    for source, named, id in cases:
        absent = id[::-1] if "." not in id else "acme.ml.absent"
        absent = f"m-{id[:1:-1]}" if id.startswith("m-") else absent
        with pytest.raises(ResourceDoesNotExist) as hidden:
            await register(READER, source, **named)
        with pytest.raises(ResourceDoesNotExist) as gone:
            await register(READER, source.replace(id, absent), **dict.fromkeys(named, absent))
        assert hidden.value.message.replace(id, "?") == gone.value.message.replace(absent, "?")
    await grant(house.database, READER.id or 0, Kind.EXPERIMENT, 0, P.READ)
    for source, named, _ in cases[:3]:
        assert (await register(READER, source, **named))["status"] == "READY"
    secret = (await ids(house, "acme.ml.secret"))[Kind.MODEL]
    await grant(house.database, READER.id or 0, Kind.MODEL, secret, P.BROWSE)
    with pytest.raises(PermissionDenied, match=r"lacks EXECUTE on registered model acme\.ml\.secret"):
        await register(READER, cases[3][0])
    await grant(house.database, READER.id or 0, Kind.MODEL, secret, P.EXECUTE)
    assert (await register(READER, cases[3][0]))["status"] == "READY"


async def test_a_run_leads_to_no_logged_model_that_one_may_not_read(house: House) -> None:
    """A model that was logged beside a run, in another experiment, is found by those who may read that one."""
    run_id, _ = await house.run()
    await house.ensure(MODEL)
    await let_in(house, READER, P.CREATE_MODEL_VERSION)
    await grant(house.database, READER.id or 0, Kind.EXPERIMENT, 0, P.READ)
    other = await ask(house, ALICE, experiments.create_experiment, "other")
    logged = await ask(house, ALICE, logged_models.create_logged_model, other, name="beside", source_run_id=run_id)
    await house.upload_all(house.prefix(logged["info"]["artifact_uri"]))
    new = NewVersion(f"runs:/{run_id}/beside", run_id=run_id)
    with pytest.raises(TiltyardError, match="There are no files at it"):
        await new_versions.create_version(house.database, READER, house.artifacts, MODEL, new)
    row = await new_versions.create_version(house.database, ALICE, house.artifacts, MODEL, new)
    assert row["model_id"] == logged["info"]["model_id"]


async def test_files_of_a_version_are_read_by_who_may_execute_it(house: House) -> None:
    """EXECUTE reads what the version is made of, without a right on its experiment, and nothing beside it."""
    version = await house.register(MODEL)
    prefix = version["pinned_prefix"]
    beside = f"{prefix.rsplit('/', 1)[0]}/beside.txt"
    await house.upload(beside, b"x")
    await let_in(house, READER, P.EXECUTE)
    path = f"{prefix}/MLmodel"
    assert await files.check_readable(house.database, READER, path) == path
    for who, hidden in ((READER, beside), (STRANGER, path), (READER, "0"), (READER, "0/no/f"), (READER, f"0{path}")):
        with pytest.raises(ResourceDoesNotExist, match="does not exist"):
            await files.check_readable(house.database, who, hidden)
    for write in (
        lambda: files.delete(house.database, READER, house.artifacts.store, path),
        lambda: ask(house, READER, files.check_writable, path),
        lambda: files.check_abortable(house.database, READER, path),
    ):
        with pytest.raises(ResourceDoesNotExist, match="does not exist"):
            await write()
    await grant(house.database, READER.id or 0, Kind.EXPERIMENT, 0, P.READ)
    with pytest.raises(PermissionDenied, match="lacks EDIT on the experiment of artifact"):
        await files.check_abortable(house.database, READER, path)


async def test_a_pin_names_its_model_to_those_who_see_it(house: House) -> None:
    """Who edits an experiment hears that a version is made of its files, and of which if they see the model."""
    version = await house.register(MODEL)
    await grant(house.database, READER.id or 0, Kind.EXPERIMENT, 0, P.EDIT)
    path = f"{version['pinned_prefix']}/MLmodel"
    with pytest.raises(ResourceConflict, match="a registered version is made of it"):
        await files.delete(house.database, READER, house.artifacts.store, path)
    with pytest.raises(ResourceConflict, match="a registered version is made of it"):
        await files.delete(house.database, READER, house.artifacts.store, version["pinned_prefix"].rpartition("/")[0])
    with pytest.raises(ResourceConflict, match="a registered version is made of it"):
        await ask(house, READER, files.check_writable, path)
    await let_in(house, READER, P.BROWSE)
    with pytest.raises(ResourceConflict, match=MODEL):
        await ask(house, READER, files.check_writable, path)


async def test_transfers_past_the_registry_take_the_same_rights(house: House) -> None:
    """Whoever may not read or write a file gets no address of it, and ends nobody's upload."""
    _, prefix = await house.run()
    direct: Any = None
    path = f"{prefix}/f"
    await house.upload(path, b"x")
    for asked in (
        lambda: direct_transfers.download_url(house.database, STRANGER, house.artifacts.store, direct, path),
        lambda: direct_transfers.abort_upload(house.database, STRANGER, direct, path, "id"),
        lambda: direct_transfers.complete_upload(house.database, STRANGER, direct, path, "id", []),
    ):
        with pytest.raises(ResourceDoesNotExist, match="does not exist"):
            await asked()
    with pytest.raises(ResourceDoesNotExist, match="does not exist"):
        await files.store(house.database, STRANGER, house.artifacts.store, path, once(b""))


async def test_events_are_those_of_the_models_that_one_sees(house: House) -> None:
    """Who may not read the whole log finds the events of visible models; of others none, by any way to ask."""
    await house.ensure(MODEL)
    await house.ensure("acme.ml.other")
    await let_in(house, READER, P.BROWSE)
    rows, _ = await ask(house, READER, history.search_events)
    assert {row["name"] for row in rows} == {MODEL}
    rows, _ = await ask(house, READER, history.search_events, model="acme.ml.other")
    assert rows == []
    await grant(house.database, STRANGER.id or 0, Kind.ROOT, 0, P.READ_AUDIT)
    rows, _ = await ask(house, STRANGER, history.search_events)
    assert {"acme.ml.other", MODEL, "acme.ml", "acme"} <= {row["name"] for row in rows}


async def test_pages_and_their_tokens_hold_what_one_sees(house: House) -> None:
    """A page is full although hidden rows lie between, and its token leads to the next visible one."""
    names = [f"acme.ml.m{number}" for number in range(6)]
    for name in names:
        await house.external(name)
    for name in names[::2]:
        await grant(house.database, READER.id or 0, Kind.MODEL, (await ids(house, name))[Kind.MODEL], P.BROWSE)
    for door in (search.search_registered_models, search.search_model_versions):
        found, token = [], None
        while token is not None or not found:
            rows, token = await ask(house, READER, door, order_by=["name"], max_results=2, page_token=token)
            assert len(rows) == 2 or token is None
            found += [row["name"] for row in rows]
        assert found == names[::2]
    listed = await ask(house, READER, search.list_registered_models, limit=10)
    assert [row["name"] for row in listed] == names[::2]


async def test_a_model_takes_a_schema_that_one_may_create_in(house: House) -> None:
    """What is missing above a model is created by who may; what one does not see is as missing."""
    create, name = registered_models.create_registered_model, "acme.ml.new"
    no_catalog = "Principal 'reader' lacks CREATE_CATALOG on the registry."
    assert await refusal(house, READER, create, name) == no_catalog
    await house.ensure(MODEL)
    of = await ids(house)
    assert await refusal(house, READER, create, name) == no_catalog
    await grant(house.database, READER.id or 0, Kind.CATALOG, of[Kind.CATALOG], P.USE_CATALOG)
    no_schema = "Principal 'reader' lacks CREATE_SCHEMA on catalog acme."
    assert await refusal(house, READER, create, name) == no_schema
    assert await refusal(house, READER, create, "acme.absent.new") == no_schema
    await grant(house.database, READER.id or 0, Kind.CATALOG, of[Kind.CATALOG], P.CREATE_SCHEMA)
    no_model = "Principal 'reader' lacks CREATE_MODEL on schema acme.ml."
    assert await refusal(house, READER, create, name) == no_model
    assert (await ask(house, READER, create, "acme.absent.new"))["name"] == "acme.absent.new"
    await grant(house.database, READER.id or 0, Kind.SCHEMA, of[Kind.SCHEMA], P.USE_SCHEMA)
    assert await refusal(house, READER, create, name) == no_model
    await grant(house.database, READER.id or 0, Kind.SCHEMA, of[Kind.SCHEMA], P.CREATE_MODEL)
    assert (await ask(house, READER, create, name))["name"] == name


async def test_moving_a_model_takes_the_right_to_create_where_it_goes(house: House) -> None:
    """Within its schema a rename takes MANAGE; into another one CREATE_MODEL there besides."""
    rename = registered_models.rename_registered_model
    await house.ensure(MODEL)
    await house.ensure("acme.other.m")
    await let_in(house, READER, P.MANAGE)
    assert (await ask(house, READER, rename, MODEL, "acme.ml.rose"))["name"] == "acme.ml.rose"
    refused = await refusal(house, READER, rename, "acme.ml.rose", "acme.other.rose")
    assert refused == "Principal 'reader' lacks CREATE_SCHEMA on catalog acme."
    other = (await ids(house, "acme.other.m"))[Kind.SCHEMA]
    await grant(house.database, READER.id or 0, Kind.SCHEMA, other, P.CREATE_MODEL | P.USE_SCHEMA)
    assert (await ask(house, READER, rename, "acme.ml.rose", "acme.other.rose"))["name"] == "acme.other.rose"


async def test_a_job_of_somebody_else_takes_the_management_of_the_model(house: House) -> None:
    """Who may score records jobs of their own; those of others change only by who manages the model."""
    await house.external(MODEL)
    await let_in(house, READER, P.EXECUTE)
    job: dict[str, Any] = dict.fromkeys(("message", "input", "output", "end_time", "row_count", "null_count"))
    job |= {"status": "RUNNING", "start_time": 1}
    await ask(house, ALICE, batch_jobs.record_batch_job, MODEL, 1, "j1", **job)
    await ask(house, READER, batch_jobs.record_batch_job, MODEL, 1, "j2", **job)
    ended = {**job, "status": "SUCCEEDED", "end_time": 2}
    with pytest.raises(PermissionDenied, match="lacks MANAGE on registered model"):
        await ask(house, READER, batch_jobs.record_batch_job, MODEL, 1, "j1", **ended)
    await ask(house, READER, batch_jobs.record_batch_job, MODEL, 1, "j2", **ended)


async def test_several_changes_at_once_ask_for_each(house: House) -> None:
    """Every kind of change takes its own privilege, in a batch too."""
    await house.external(MODEL)
    await let_in(house, READER, P.BROWSE)
    for change, lacking in (
        ({"action": "set_alias", "alias": "a", "version": 1}, "SET_ALIAS"),
        ({"action": "delete_alias", "alias": "a"}, "SET_ALIAS"),
        ({"action": "set_tag", "key": "k", "value": "v"}, "APPLY_TAG"),
        ({"action": "delete_tag", "key": "k"}, "APPLY_TAG"),
        ({"action": "set_tag", "version": 1, "key": "k", "value": "v"}, "APPLY_TAG"),
        ({"action": "delete_tag", "version": 1, "key": "k"}, "APPLY_TAG"),
    ):
        refused = await refusal(house, READER, change_set.apply_changes, [{"name": MODEL, **change}])
        assert f"Principal 'reader' lacks {lacking} on registered model {MODEL}." in refused


async def test_what_lies_in_a_container_is_listed_to_who_sees_it(house: House) -> None:
    """The schemas of a catalog, and the models of a schema, are those that one sees; hidden ones are as absent."""
    await house.ensure(MODEL)
    await house.ensure("acme.hidden.m")
    await let_in(house, READER, P.BROWSE)
    rows = await ask(house, READER, schemas.list_schemas, "acme", limit=10)
    assert [row["name"] for row in rows] == ["ml"]
    within = search.list_registered_models
    assert [row["name"] for row in await ask(house, READER, within, within=("acme", "ml"), limit=10)] == [MODEL]
    hidden = await refusal(house, READER, within, within=("acme", "hidden"), limit=10)
    assert hidden.replace("hidden", "absent") == await refusal(
        house, READER, within, within=("acme", "absent"), limit=10
    )


async def test_a_reserved_version_is_ended_by_who_may_create_one(house: House) -> None:
    """Whoever may only score does not finalize what somebody else is writing."""
    await house.ensure(MODEL)
    await let_in(house, READER, P.EXECUTE)
    row = await ask(house, ALICE, reserved_versions.create_pending_version, house.artifacts, MODEL, "x")
    refused = await refusal(house, READER, reserved_versions.finalize_version, house.artifacts, MODEL, row["version"])
    assert refused == f"Principal 'reader' lacks CREATE_MODEL_VERSION on registered model {MODEL}."


async def test_what_a_hidden_model_lacks_is_not_told(house: House) -> None:
    """Who does not see a model hears of it as absent, also when they ask for a version or alias that it has not."""
    await house.ensure(MODEL)
    for door, rest in (
        (model_versions.get_model_version, (9,)),
        (aliases.get_model_version_by_alias, ("none",)),
        (aliases.get_model_version_by_alias, ("latest",)),
        (batch_jobs.list_batch_jobs, (9,)),
    ):
        hidden = await refusal(house, READER, door, MODEL, *rest)
        absent = await refusal(house, READER, door, "acme.ml.gone", *rest)
        assert hidden.replace(MODEL, "acme.ml.gone") == absent
