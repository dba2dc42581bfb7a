"""Names that people approve can be told from one another; what has another name already can still be reached."""

import pytest
from sqlalchemy import update

from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.store.models import aliases, registered_models
from tiltyard_registry.store.namespaces import catalogs
from tiltyard_registry.tables.models import registered_models as rows

DISGUISED = [
    *("tum\u200bor", "tum\u00ador", "\u202etumor", "tumor\U000e0041", "tum\u3164or", "tum\ufe0for", "tum\u2060or"),
    *("cafe\u0301", "\u0441hampion", "champi\u03bfn", "m\u0430in"),
]


@pytest.mark.parametrize("name", DISGUISED, ids=ascii)
async def test_new_names_are_what_they_look_like(house: House, name: str) -> None:
    """Characters that are not seen, other normal forms and foreign look-alikes make no model, catalog or alias."""
    for door in (registered_models.create_registered_model, catalogs.create_catalog):
        with pytest.raises(InvalidParameterValue, match="Invalid name"):
            await house.do(door, name)
    await house.external("tumor")
    with pytest.raises(InvalidParameterValue):
        await house.do(registered_models.rename_registered_model, "tumor", name)
    with pytest.raises(InvalidParameterValue, match="Invalid"):
        await house.do(aliases.set_alias, "tumor", name, 1)


@pytest.mark.parametrize(
    "name", ["café", "модель", "模型", "Δloss", "модель v2", "μodel", "ｆｕｌｌ", "🦊", "日本 model"]
)
async def test_names_of_any_script_are_fine(house: House, name: str) -> None:
    """Whatever people write their names in, and symbols, make a model."""
    assert (await house.do(registered_models.create_registered_model, name))["name"] == name


@pytest.mark.parametrize("alias", ["ｌatest", "ＬＡＴＥＳＴ", "ｐroduction", "ｖ1", "Ｓtaging"])
async def test_no_alias_poses_as_a_reserved_one(house: House, alias: str) -> None:
    """Letters of another width do not make 'latest', a version or a stage; the plain names of stages are aliases."""
    await house.external("m")
    with pytest.raises(InvalidParameterValue, match="looks like"):
        await house.do(aliases.set_alias, "m", alias, 1)
    for plain in ("production", "Staging", "champion", "live-2", "чемпион"):
        await house.do(aliases.set_alias, "m", plain, 1)


async def test_an_old_name_is_still_reached(house: House) -> None:
    """A model that has such a name from before is found, renamed and deleted."""
    await house.ensure("old")
    async with house.database.write() as session:
        await session.execute(update(rows).where(rows.c.name == "old").values(name="o\u200bld"))
    assert (await house.see(registered_models.get_registered_model, "o\u200bld"))["name"] == "o\u200bld"
    await house.do(registered_models.rename_registered_model, "o\u200bld", "new")
    await house.do(registered_models.delete_registered_model, "new")
