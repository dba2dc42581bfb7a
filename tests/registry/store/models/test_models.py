"""Registered models and their versions, over both databases."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from tests.registry.store_house import ALICE, MODEL_FILES, House
from tiltyard.errors import (
    InvalidParameterValue,
    ResourceAlreadyExists,
    ResourceConflict,
    ResourceDoesNotExist,
)
from tiltyard_registry.store.artifacts import files
from tiltyard_registry.store.events import history
from tiltyard_registry.store.experiments import logged_models as logged
from tiltyard_registry.store.models import aliases, model_versions, registered_models, resolution, tags
from tiltyard_registry.store.models import search as searches
from tiltyard_registry.store.namespaces import catalogs, schemas

create = registered_models.create_registered_model
get = registered_models.get_registered_model
get_version = model_versions.get_model_version


async def test_a_model_comes_back_as_it_was_made(house: House) -> None:
    """A new model has its name, description and tags, and nothing else."""
    tags = [{"key": "a", "value": "1"}, {"key": "b", "value": ""}, {"key": "a", "value": "2"}]
    made = await house.do(create, "main.ml.iris", description="flowers", tags=tags)
    assert made == await house.see(get, "main.ml.iris")
    assert (made["name"], made["description"]) == ("main.ml.iris", "flowers")
    assert made["tags"] == [{"key": "a", "value": "2"}, {"key": "b", "value": ""}]
    assert (made["aliases"], made["latest_versions"]) == ([], [])
    assert made["creation_timestamp"] == made["last_updated_timestamp"]
    assert (await house.see(schemas.get_schema, "main", "ml"))["full_name"] == "main.ml"


async def test_short_and_full_names_of_the_default_schema_are_one_model(house: House) -> None:
    """`X` and `workspace.default.X` name the same model, which is shown by its short name."""
    await house.do(create, "workspace.default.iris")
    assert (await house.see(get, "iris"))["name"] == "iris"
    with pytest.raises(ResourceAlreadyExists, match=r"^Registered Model \(name=iris\) already exists\.$"):
        await house.do(create, "iris")


async def test_a_bad_name_is_refused(house: House) -> None:
    """A name that breaks a rule never reaches the database."""
    for name in ("", " ", "a.b", "a.b.c.d", "a/b", "a:b", "..", "a..c", "x" * 300, "a\0b", "\ud800"):
        with pytest.raises(InvalidParameterValue):
            await house.do(create, name)


@given(text=st.text(max_size=300), surrogate=st.booleans())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_text_in_any_place_is_answered(house: House, text: str, surrogate: bool) -> None:
    """Whatever a caller writes where a name, an alias, a key or a token belongs, the database never refuses it."""
    text += "\ud800" * surrogate
    await house.ensure("m")
    calls: list[Any] = [
        (get, text),
        (get_version, "m", text),
        (aliases.get_model_version_by_alias, "m", text),
        (aliases.get_alias, "m", text),
        (aliases.alias_history, "m", text),
        (aliases.delete_alias, "m", text),
        (aliases.rollback_alias, "m", text),
        (aliases.set_alias, "m", text, text),
        (catalogs.get_catalog, text),
        (schemas.get_schema, "main", text),
        (schemas.get_schema, text, "default"),
        (schemas.list_schemas, text),
        (tags.set_tag, "m", None, text, text),
        (tags.set_tag, "m", 1, text, None),
        (registered_models.update_registered_model, "m"),
        (searches.search_registered_models, text),
        (searches.search_model_versions, text),
        (model_versions.transition_model_version_stage, "m", 1, text),
        (resolution.resolve, [text, f"models:/{text}", f"models:/{text}/1", f"models:/m@{text}"]),
        (history.search_events,),
    ]
    options: dict[Any, dict[str, Any]] = {
        schemas.list_schemas: {"limit": 1},
        registered_models.update_registered_model: {"description": text},
        searches.search_model_versions: {"page_token": text},
        history.search_events: {"principal": text, "page_token": text},
    }
    for door, *arguments in calls:
        with suppress(InvalidParameterValue, ResourceDoesNotExist):
            await house.do(door, *arguments, **options.get(door, {}))


async def test_what_is_missing_is_named(house: House) -> None:
    """The messages for a missing model and a missing version are the protocol's own."""
    with pytest.raises(ResourceDoesNotExist, match=r"^Registered Model with name=nobody not found$"):
        await house.see(get, "nobody")
    with pytest.raises(ResourceDoesNotExist, match=r"^Registered Model with name=nobody not found$"):
        await house.see(get_version, "nobody", "1")
    await house.do(create, "m")
    for version in ("9", "0", "-1", "99999999999999999999"[:18]):
        with pytest.raises(ResourceDoesNotExist, match=rf"^Model Version \(name=m, version={version}\) not found$"):
            await house.see(get_version, "m", version)
    with pytest.raises(InvalidParameterValue, match=r"^Parameter 'version' must be an integer, got 'abc'\.$"):
        await house.see(get_version, "m", "abc")


async def test_an_update_changes_the_description_and_an_absent_one_clears_it(house: House) -> None:
    """Update is the description's only way in and out."""
    await house.do(create, "m", description="first")
    assert (await house.do(registered_models.update_registered_model, "m", description="second"))["description"] == (
        "second"
    )
    assert (await house.do(registered_models.update_registered_model, "m", description=None))["description"] is None
    await house.external()
    assert (await house.do(model_versions.update_model_version, "m", 1, description="v"))["description"] == "v"
    assert (await house.do(model_versions.update_model_version, "m", "1", description=""))["description"] is None


async def test_a_rename_takes_everything_along_also_to_another_schema(house: House) -> None:
    """Versions, tags and aliases follow the model; the old name is free; the new schema is made."""
    await house.register("m")
    await house.do(tags.set_tag, "m", None, "k", "v")
    await house.do(aliases.set_alias, "m", "champion", 1)
    renamed = await house.do(registered_models.rename_registered_model, "m", "prod.risk.m2")
    assert renamed["name"] == "prod.risk.m2"
    assert renamed["aliases"] == [{"alias": "champion", "version": 1}]
    assert renamed["tags"] == [{"key": "k", "value": "v"}]
    assert (await house.see(aliases.get_model_version_by_alias, "prod.risk.m2", "champion"))["version"] == 1
    assert [s["name"] for s in await house.see(schemas.list_schemas, "prod", limit=9)] == ["risk"]
    await house.do(create, "m")
    with pytest.raises(ResourceAlreadyExists, match="name=m"):
        await house.do(registered_models.rename_registered_model, "prod.risk.m2", "m")


async def test_numbers_go_on_after_deletions_and_start_again_with_a_new_model(house: House) -> None:
    """A number is never used twice while the model exists; a re-created model starts at 1."""
    await house.external(count=3)
    await house.do(model_versions.delete_model_version, "m", 3)
    assert (await house.external())["version"] == 4
    await house.do(registered_models.delete_registered_model, "m")
    assert (await house.external())["version"] == 1


async def test_a_version_that_was_rolled_back_leaves_no_gap(house: House) -> None:
    """A registration that fails gives its number back."""
    await house.external()
    with pytest.raises(ResourceDoesNotExist, match="Logged model with ID"):
        await house.create_version("m", "models:/m-" + "0" * 32, model_id="m-" + "0" * 32)
    assert (await house.external())["version"] == 2


async def test_a_registered_version_pins_its_files(house: House) -> None:
    """Nothing below a registered prefix can be written or deleted until the version is gone."""
    await house.do(create, "m")
    model_id, prefix = await house.log_model()
    version = await house.create_version("m", f"models:/{model_id}", model_id=model_id)
    assert (version["status"], version["external"], version["pinned_prefix"]) == ("READY", False, prefix)
    assert version == await house.see(get_version, "m", 1)
    with pytest.raises(ResourceConflict):
        await house.upload(f"{prefix}/model.pkl", b"other")
    with pytest.raises(ResourceConflict):
        await files.delete(house.database, ALICE, house.artifacts.store, prefix)
    await house.do(model_versions.delete_model_version, "m", 1)
    await house.upload(f"{prefix}/model.pkl", b"other")
    with pytest.raises(ResourceDoesNotExist):
        await house.see(get_version, "m", 1)


async def test_a_manifest_names_every_byte(house: House) -> None:
    """Path, size and hash of each file, and one digest that equal files share."""
    first = await house.register("m")
    second = await house.register("m")
    assert first["manifest_digest"] == second["manifest_digest"]
    other = await house.register("m", {**MODEL_FILES, "model.pkl": b"other"})
    assert other["manifest_digest"] != first["manifest_digest"]
    manifest = await house.see(model_versions.get_manifest, "m", "1")
    assert [(file["path"], file["size_bytes"]) for file in manifest["files"]] == [
        (path, len(body)) for path, body in MODEL_FILES.items()
    ]
    assert manifest["digest"] == first["manifest_digest"]
    assert manifest["location"] == first["location"]
    await house.external("m")
    external = await house.see(model_versions.get_manifest, "m", 4)
    assert (external["external"], external["digest"], external["files"]) == (True, None, [])


async def test_registering_is_noted_on_the_logged_model(house: House) -> None:
    """The logged model's tag lists the versions made from it."""
    await house.do(create, "m")
    run_id, _ = await house.run()
    model_id, _ = await house.log_model(run_id=run_id)
    for _ in range(2):
        version = await house.create_version("m", f"models:/{model_id}", model_id=model_id)
    assert version["run_id"] == run_id
    model = await house.see(logged.get_logged_model, model_id)
    tag = next(tag["value"] for tag in model["info"]["tags"] if tag["key"] == "mlflow.modelVersions")
    assert tag == '[{"name": "m", "version": 1}, {"name": "m", "version": 2}]'


async def test_a_deleted_version_takes_its_aliases_along_and_a_deleted_model_everything(house: House) -> None:
    """No alias names what is gone."""
    await house.external(count=2)
    for alias, version in (("champion", 2), ("challenger", 2), ("old", 1)):
        await house.do(aliases.set_alias, "m", alias, version)
    await house.do(tags.set_tag, "m", 2, "k", "v")
    await house.do(model_versions.delete_model_version, "m", "2")
    assert (await house.see(get, "m"))["aliases"] == [{"alias": "old", "version": 1}]
    with pytest.raises(ResourceConflict, match=r"existing model versions: m$"):
        await house.do(registered_models.delete_registered_model, "m", with_versions=False)
    await house.do(registered_models.delete_registered_model, "m")
    with pytest.raises(ResourceDoesNotExist):
        await house.do(registered_models.delete_registered_model, "m")
    assert (await house.see(searches.search_model_versions))[0] == []


async def test_tags_are_set_overwritten_and_deleted(house: House) -> None:
    """Deleting an absent tag is no error; a bad key or a value too long is."""
    await house.external()
    for value in ("1", "2"):
        await house.do(tags.set_tag, "m", None, "k", value)
        await house.do(tags.set_tag, "m", 1, "k", value)
    assert (await house.see(get, "m"))["tags"] == [{"key": "k", "value": "2"}]
    assert (await house.see(get_version, "m", 1))["tags"] == [{"key": "k", "value": "2"}]
    for _ in range(2):
        await house.do(tags.set_tag, "m", None, "k", None)
        await house.do(tags.set_tag, "m", 1, "k", None)
    assert (await house.see(get, "m"))["tags"] == (await house.see(get_version, "m", 1))["tags"] == []
    with pytest.raises(InvalidParameterValue, match="'value' exceeds the maximum length of 100000 characters"):
        await house.do(tags.set_tag, "m", None, "k", "x" * 100_001)
    for key in ("a$b", "", "../x", "x" * 251, "a\n"):
        with pytest.raises(InvalidParameterValue):
            await house.do(tags.set_tag, "m", 1, key, "v")
    with pytest.raises(ResourceDoesNotExist):
        await house.do(tags.set_tag, "m", 7, "k", "v")


async def test_a_transition_can_archive_the_others_of_the_target_stage(house: House) -> None:
    """Only versions in the target stage are archived, and never the one that moves."""
    move = model_versions.transition_model_version_stage
    await house.external(count=4)
    await house.do(move, "m", 1, "production")
    await house.do(move, "m", 2, "Production")
    await house.do(move, "m", 3, "STAGING")
    moved = await house.do(move, "m", "4", "Production", archive_existing_versions=True)
    assert moved["current_stage"] == "Production"
    stages = {
        row["version"]: row["current_stage"] for row in await house.see(searches.list_model_versions, "m", limit=9)
    }
    assert stages == {1: "Archived", 2: "Archived", 3: "Staging", 4: "Production"}
    latest = await house.see(registered_models.get_latest_versions, "m")
    assert {row["current_stage"]: row["version"] for row in latest} == {"Archived": 2, "Staging": 3, "Production": 4}
    assert [row["version"] for row in await house.see(registered_models.get_latest_versions, "m", ["staging"])] == [3]
    expected = r"^Invalid Model Version stage: prod\. Value must be one of None, Staging, Production, Archived\.$"
    with pytest.raises(InvalidParameterValue, match=expected):
        await house.do(move, "m", 1, "prod")
    for stage in ("None", "Archived"):
        with pytest.raises(InvalidParameterValue, match="not an Active stage"):
            await house.do(move, "m", 1, stage, archive_existing_versions=True)


async def test_a_search_finds_models_and_versions_page_by_page(house: House) -> None:
    """Filter, order and tokens work on both nouns; every row carries its tags and aliases."""
    for number in range(5):
        await house.external(f"m{number}", count=2)
        await house.do(tags.set_tag, f"m{number}", None, "parity", str(number % 2))
        await house.do(aliases.set_alias, f"m{number}", "champion", 1)
    search, found, token = searches.search_registered_models, [], None
    while True:
        rows, token = await house.see(search, order_by=["name DESC"], max_results=2, page_token=token)
        found += rows
        if token is None:
            break
    assert [row["name"] for row in found] == ["m4", "m3", "m2", "m1", "m0"]
    assert all(row["aliases"] == [{"alias": "champion", "version": 1}] for row in found)
    assert [row["latest_versions"][0]["version"] for row in found] == [2] * 5
    odd, _ = await house.see(search, "tags.parity = '1'")
    assert [row["name"] for row in odd] == ["m1", "m3"]
    versions, token = await house.see(
        searches.search_model_versions, "version_number = 1", order_by=["name"], max_results=3
    )
    assert [(row["name"], row["aliases"]) for row in versions] == [(f"m{n}", ["champion"]) for n in range(3)]
    with pytest.raises(InvalidParameterValue, match="belongs to another query"):
        await house.see(searches.search_model_versions, page_token=token)


async def test_prompts_are_not_models(house: House) -> None:
    """The filter that every client adds finds the models that lack the prompt tag."""
    await house.do(create, "m")
    await house.do(create, "p", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])
    rows, _ = await house.see(searches.search_registered_models, "tag.`mlflow.prompt.is_prompt` != 'true'")
    assert [row["name"] for row in rows] == ["m"]


async def test_a_page_costs_the_same_statements_whatever_its_size(house: House, request: pytest.FixtureRequest) -> None:
    """Lists never ask once per row."""
    for number in range(20):
        await house.do(create, f"m{number:02}", tags=[{"key": "k", "value": "v"}])
        await house.external(f"m{number:02}")
    statements: list[str] = []
    event.listen(Engine, "before_cursor_execute", note := lambda *args: statements.append(args[2]))
    request.addfinalizer(lambda: event.remove(Engine, "before_cursor_execute", note))
    for size in (2, 20):
        statements.clear()
        rows, _ = await house.see(searches.search_registered_models, max_results=size)
        assert (len(rows), len(statements)) == (size, 4)
        statements.clear()
        rows, _ = await house.see(searches.search_model_versions, max_results=size)
        assert (len(rows), len(statements)) == (size, 2)
        statements.clear()
        uris = [f"models:/m{number:02}/{what}" for number in range(size) for what in ("1", "latest", "None")]
        assert all(row["version"] == 1 for row in await house.see(resolution.resolve, uris))
        assert len(statements) == 6
