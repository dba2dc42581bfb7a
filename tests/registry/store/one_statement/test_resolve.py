"""What URIs name is the same in one visit to the database as by the ordinary door."""

import itertools

from tests.registry.store_house import ALICE, House
from tiltyard.wire.v1.resolution import Resolved
from tiltyard_registry.api.framework.replies import replies
from tiltyard_registry.rules.prompts import PROMPT_TAG
from tiltyard_registry.store.models import aliases, resolution, tags
from tiltyard_registry.store.one_statement.resolve import read_resolved

URIS = (
    "models:/main.ml.iris@champion",
    "models:/main.ml.iris/1",
    "models:/main.ml.iris/2",
    "models:/workspace.default.plain/1",
    "models:/plain@a",
    "models:/main.ml.iris@nobody",
    "models:/main.ml.iris/latest",
    "models:/main.ml.iris/9",
    "models:/greeting/1",
    "models:/nobody/1",
    "nonsense:",
)


async def _filled(house: House) -> None:
    await house.register("main.ml.iris")
    await house.external("main.ml.iris")
    await house.external("plain")
    await house.external("greeting")
    await house.do(tags.set_tag, "greeting", 1, PROMPT_TAG, "true")
    await house.do(aliases.set_alias, "main.ml.iris", "champion", 2)
    await house.do(aliases.set_alias, "plain", "a", 1)


async def _is_at_once(house: House, uris: list[str]) -> bool:
    """Whether all were found at once: then each as by the ordinary door, which has something to say otherwise."""
    found = await read_resolved(house.database, ALICE, uris)
    async with house.database.read() as session:
        rows = await resolution.resolve(session, ALICE, uris)
    if found is None:
        return False
    assert replies(found, Resolved) == replies(rows, Resolved), uris
    return True


async def test_what_is_found_at_once_is_what_the_ordinary_door_finds(house: House) -> None:
    """Any two URIs, in their order and the same one twice; whatever names nothing is left to the other door."""
    await _filled(house)
    found = {pair: await _is_at_once(house, list(pair)) for pair in itertools.product(URIS, repeat=2)}
    assert {pair for pair, at_once in found.items() if at_once} == set(itertools.product(URIS[:5], repeat=2))
