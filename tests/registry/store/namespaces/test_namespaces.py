"""Catalogs and schemas over both databases."""

import pytest

from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue, ResourceAlreadyExists, ResourceConflict, ResourceDoesNotExist
from tiltyard_registry.store.models import aliases, registered_models, search
from tiltyard_registry.store.namespaces import catalogs, schemas
from tiltyard_registry.store.namespaces.namespace_rows import Change


async def test_what_is_built_in_is_there_and_stays(house: House) -> None:
    """`main.default` and `workspace.default` exist from the start, and are neither renamed nor deleted."""
    assert [row["name"] for row in await house.see(catalogs.list_catalogs, limit=9)] == ["main", "workspace"]
    for catalog in ("main", "workspace"):
        assert [row["full_name"] for row in await house.see(schemas.list_schemas, catalog, limit=9)] == [
            f"{catalog}.default"
        ]
        for refused in (
            house.do(catalogs.delete_catalog, catalog, force=True),
            house.do(catalogs.update_catalog, catalog, Change(new_name="other")),
            house.do(schemas.delete_schema, catalog, "default"),
            house.do(schemas.update_schema, catalog, "default", Change(new_name="other")),
        ):
            with pytest.raises(InvalidParameterValue, match="is built in"):
                await refused


async def test_catalogs_and_schemas_are_made_changed_and_listed(house: House) -> None:
    """Names are unique, comments change, pages go by name."""
    made = await house.do(catalogs.create_catalog, "prod", comment="c")
    assert made == await house.see(catalogs.get_catalog, "prod")
    assert (made["comment"], made["owner"], made["created_by"]) == ("c", "alice", "alice")
    for name in ("b", "a", "c"):
        await house.do(schemas.create_schema, "prod", name)
    assert [row["name"] for row in await house.see(schemas.list_schemas, "prod", after="a", limit=1)] == ["b"]
    assert (await house.do(schemas.update_schema, "prod", "a", Change(comment="x")))["comment"] == "x"
    assert (await house.do(catalogs.update_catalog, "prod", Change(comment="")))["comment"] is None
    with pytest.raises(ResourceAlreadyExists, match=r"Catalog \(name=prod\)"):
        await house.do(catalogs.create_catalog, "prod")
    with pytest.raises(ResourceAlreadyExists, match=r"Schema \(name=prod\.a\)"):
        await house.do(schemas.create_schema, "prod", "a")
    with pytest.raises(ResourceAlreadyExists, match=r"Schema \(name=prod\.b\)"):
        await house.do(schemas.update_schema, "prod", "a", Change(new_name="b"))
    with pytest.raises(ResourceAlreadyExists, match=r"Catalog \(name=main\)"):
        await house.do(catalogs.update_catalog, "prod", Change(new_name="main"))
    for absent in (house.do(schemas.create_schema, "no", "s"), house.see(schemas.get_schema, "prod", "no")):
        with pytest.raises(ResourceDoesNotExist):
            await absent
    for empty in (
        house.do(schemas.update_schema, "prod", "a", Change()),
        house.do(catalogs.update_catalog, "prod", Change()),
    ):
        with pytest.raises(InvalidParameterValue, match=r"No updated fields defined\."):
            await empty
    for bad in ("", " a", "a.b", "a/b", "x" * 256):
        with pytest.raises(InvalidParameterValue):
            await house.do(catalogs.create_catalog, bad)
        with pytest.raises(InvalidParameterValue):
            await house.do(schemas.create_schema, "prod", bad)


async def test_models_follow_the_new_name_of_their_schema_and_catalog(house: House) -> None:
    """After renames a model is found under its new full name, with all that is on it."""
    await house.external("prod.risk.m")
    await house.do(aliases.set_alias, "prod.risk.m", "champion", 1)
    await house.do(schemas.update_schema, "prod", "risk", Change(new_name="fraud"))
    await house.do(catalogs.update_catalog, "prod", Change(new_name="live"))
    model = await house.see(registered_models.get_registered_model, "live.fraud.m")
    assert model["aliases"] == [{"alias": "champion", "version": 1}]
    listed = await house.see(search.list_registered_models, within=("live", "fraud"), limit=9)
    assert [row["name"] for row in listed] == ["live.fraud.m"]
    for gone in ("prod.risk.m", "prod.fraud.m"):
        with pytest.raises(ResourceDoesNotExist):
            await house.see(registered_models.get_registered_model, gone)


async def test_what_is_not_empty_stays(house: House) -> None:
    """A schema with models, and a catalog with schemas, are deleted only once they are empty, or by force."""
    await house.ensure("prod.risk.m")
    with pytest.raises(ResourceConflict, match="existing models"):
        await house.do(schemas.delete_schema, "prod", "risk")
    for force in (False, True):
        with pytest.raises(ResourceConflict, match="not empty"):
            await house.do(catalogs.delete_catalog, "prod", force=force)
    await house.do(registered_models.delete_registered_model, "prod.risk.m")
    with pytest.raises(ResourceConflict):
        await house.do(catalogs.delete_catalog, "prod")
    await house.do(catalogs.delete_catalog, "prod", force=True)
    with pytest.raises(ResourceDoesNotExist):
        await house.see(schemas.get_schema, "prod", "risk")
