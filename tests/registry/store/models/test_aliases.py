"""Aliases: one winner, a memory, a way back, and what every URI names, over both databases."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.waiting import until
from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from tiltyard_registry.store.models import aliases, change_set, model_versions, registered_models, resolution
from tiltyard_registry.store.sql.session import Row


async def test_an_alias_names_an_existing_version_and_moves(house: House) -> None:
    """Setting an alias again moves it; an absent version is refused and changes nothing."""
    await house.external(count=2)
    assert await house.do(aliases.set_alias, "m", "champion", "1") == {"name": "m", "alias": "champion", "version": 1}
    await house.do(aliases.set_alias, "m", "champion", 2)
    with pytest.raises(ResourceDoesNotExist, match=r"^Model Version \(name=m, version=9\) not found$"):
        await house.do(aliases.set_alias, "m", "champion", 9)
    row = await house.see(aliases.get_model_version_by_alias, "m", "champion")
    assert (row["version"], row["aliases"]) == (2, ["champion"])
    assert (await house.see(aliases.get_model_version_by_alias, "m", "LATEST"))["version"] == 2
    for _ in range(2):
        await house.do(aliases.delete_alias, "m", "champion")
    with pytest.raises(InvalidParameterValue, match=r"^Registered model alias champion not found\.$"):
        await house.see(aliases.get_model_version_by_alias, "m", "champion")
    with pytest.raises(ResourceDoesNotExist, match="name=nobody"):
        await house.see(aliases.get_model_version_by_alias, "nobody", "champion")
    await house.ensure("empty")
    with pytest.raises(ResourceDoesNotExist, match=r"^Latest version not found for model empty\.$"):
        await house.see(aliases.get_model_version_by_alias, "empty", "latest")
    for bad in ("latest", "Latest", "v1", "V20", "", "a b", "a.b", "x" * 256):
        with pytest.raises(InvalidParameterValue):
            await house.do(aliases.set_alias, "m", bad, 1)
    await house.do(aliases.set_alias, "m", "2024", 1)
    assert [row["alias"] for row in await house.see(aliases.list_aliases, "m")] == ["2024"]


async def test_compare_and_set_moves_only_from_what_was_expected(house: House) -> None:
    """The loser is told what the alias names; an empty expectation means that it must be absent."""
    await house.external(count=2)
    await house.do(aliases.set_alias, "m", "champion", 1, expected_version="")
    with pytest.raises(ResourceConflict, match="names version 1; the request expected it to be absent"):
        await house.do(aliases.set_alias, "m", "champion", 2, expected_version="")
    with pytest.raises(ResourceConflict, match="names version 1; the request expected version 2"):
        await house.do(aliases.set_alias, "m", "champion", 2, expected_version="2")
    with pytest.raises(ResourceConflict, match="names version 1"):
        await house.do(aliases.delete_alias, "m", "champion", expected_version=2)
    await house.do(aliases.set_alias, "m", "champion", 2, expected_version=1)
    with pytest.raises(ResourceConflict, match="is absent; the request expected version 1"):
        await house.do(aliases.set_alias, "m", "challenger", 2, expected_version=1)
    await house.do(aliases.delete_alias, "m", "champion", expected_version="2")
    assert await house.alias("m", "champion") is None


async def test_of_64_racing_promotions_one_wins_each_generation(house: House) -> None:
    """All racers expect the same version; exactly one moves the alias, and the others learn that they lost."""
    racers, generations = 64, 3
    await house.external(count=generations + 1)
    await house.do(aliases.set_alias, "m", "champion", 1)

    async def promote(expected: int) -> bool:
        try:
            await house.do(aliases.set_alias, "m", "champion", expected + 1, expected_version=expected)
        except ResourceConflict:
            return False
        return True

    for generation in range(1, generations + 1):
        won = await asyncio.gather(*(promote(generation) for _ in range(racers)))
        assert sum(won) == 1
        assert await house.alias("m", "champion") == generation + 1
    moves, _ = await house.see(aliases.alias_history, "m", "champion")
    assert [move["to_version"] for move in moves] == [4, 3, 2, 1]


async def test_the_history_tells_every_move_and_what_was_named_when(house: House) -> None:
    """Moves come newest first, page by page; at any time the alias named what the moves before it say."""
    await house.external(count=3)
    for version in (1, 2, 3):
        await house.do(aliases.set_alias, "m", "champion", version)
        moved_ms = time.time_ns() // 1_000_000
        await until(lambda moved_ms=moved_ms: time.time_ns() // 1_000_000 > moved_ms)
    await house.do(aliases.delete_alias, "m", "champion")
    first, token = await house.see(aliases.alias_history, "m", "champion", max_results=3)
    rest, end = await house.see(aliases.alias_history, "m", "champion", max_results=3, page_token=token)
    assert end is None
    moves = first + rest
    assert [(move["from_version"], move["to_version"]) for move in moves] == [(3, None), (2, 3), (1, 2), (None, 1)]
    assert {move["principal"] for move in moves} == {"alice"}
    for move in moves:
        then = await house.see(aliases.list_aliases, "m", at=move["time"])
        named = [] if move["to_version"] is None else [{"alias": "champion", "version": move["to_version"]}]
        assert then == named
    with pytest.raises(InvalidParameterValue, match="not found"):
        await house.see(aliases.get_alias, "m", "champion", at=moves[-1]["time"] - 1)
    await house.do(registered_models.rename_registered_model, "m", "main.ml.renamed")
    state = await house.see(aliases.get_alias, "main.ml.renamed", "champion", at=moves[1]["time"])
    assert state["version"] == 3


async def test_the_memory_of_a_deleted_model_is_not_that_of_its_successor(house: House) -> None:
    """A model created under the name of a deleted one starts with no history of its own."""
    await house.external()
    await house.do(aliases.set_alias, "m", "champion", 1)
    await house.do(registered_models.delete_registered_model, "m")
    await house.external()
    assert await house.see(aliases.alias_history, "m", "champion") == ([], None)
    with pytest.raises(InvalidParameterValue, match="not found"):
        await house.do(aliases.rollback_alias, "m", "champion")


async def test_a_rollback_is_one_step_and_undoes_itself(house: House) -> None:
    """Back to the version named before; again, forward; after a deletion, back to what it named."""
    await house.external(count=3)
    for version in (1, 2, 3):
        await house.do(aliases.set_alias, "m", "champion", version)
    rollback = aliases.rollback_alias
    assert (await house.do(rollback, "m", "champion"))["version"] == 2
    assert (await house.do(rollback, "m", "champion"))["version"] == 3
    with pytest.raises(ResourceConflict, match="expected version 1"):
        await house.do(rollback, "m", "champion", expected_version=1)
    await house.do(aliases.delete_alias, "m", "champion")
    assert (await house.do(rollback, "m", "champion"))["version"] == 3
    await house.do(model_versions.delete_model_version, "m", 2)
    assert (await house.do(rollback, "m", "champion"))["version"] == 1
    await house.do(aliases.set_alias, "m", "other", 1)
    with pytest.raises(ResourceDoesNotExist, match="has no earlier version"):
        await house.do(rollback, "m", "other")
    with pytest.raises(InvalidParameterValue, match="not found"):
        await house.do(rollback, "m", "never")


async def test_a_batch_applies_all_changes_in_order(house: House) -> None:
    """Aliases and tags of models and versions change together, in one transaction."""
    await house.external("a", count=2)
    await house.external("b")
    await house.do(aliases.set_alias, "a", "champion", 1)
    changes: list[dict[str, Any]] = [
        {"action": "set_alias", "name": "a", "alias": "previous", "version": 1},
        {"action": "set_alias", "name": "a", "alias": "champion", "version": "2", "expected_version": "1"},
        {"action": "set_tag", "name": "b", "key": "k", "value": "v"},
        {"action": "set_tag", "name": "b", "version": 1, "key": "k", "value": "w"},
        {"action": "set_tag", "name": "b", "key": "gone", "value": "v"},
        {"action": "delete_tag", "name": "b", "key": "gone"},
        {"action": "delete_tag", "name": "b", "version": 1, "key": "absent"},
        {"action": "delete_alias", "name": "b", "alias": "absent"},
    ]
    await house.do(change_set.apply_changes, changes)
    assert [await house.alias("a", alias) for alias in ("champion", "previous")] == [2, 1]
    model = await house.see(registered_models.get_registered_model, "b")
    assert model["tags"] == [{"key": "k", "value": "v"}]
    assert (await house.see(model_versions.get_model_version, "b", 1))["tags"] == [{"key": "k", "value": "w"}]


async def test_a_batch_with_one_bad_change_changes_nothing(house: House) -> None:
    """The message says which change it was; state and events are as before."""
    await house.external(count=2)
    good = {"action": "set_alias", "name": "m", "alias": "champion", "version": 1}
    before = len(await house.events())
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({**good, "version": 9}, ResourceDoesNotExist, "Change 2 .*version=9"),
        ({**good, "name": "nobody"}, ResourceDoesNotExist, "Change 2 .*nobody"),
        ({**good, "expected_version": 2}, ResourceConflict, "Change 2 .*names version 1"),
        ({"action": "set_tag", "name": "m", "key": "a$b"}, InvalidParameterValue, "Change 2 .*a\\$b"),
        ({"action": "set_tag", "name": "m"}, InvalidParameterValue, "Change 2 .*'key'"),
        ({"action": "set_alias", "name": "m", "alias": "x"}, InvalidParameterValue, "Change 2 .*'version'"),
        ({"action": "delete_model", "name": "m"}, InvalidParameterValue, "Change 2 .*delete_model"),
    ]
    for change, error, message in bad:
        with pytest.raises(error, match=message):
            await house.do(change_set.apply_changes, [good, change])
    assert await house.alias("m", "champion") is None
    assert len(await house.events()) == before
    with pytest.raises(InvalidParameterValue, match="between 1 and 1000"):
        await house.do(change_set.apply_changes, [])


async def test_readers_never_see_half_of_a_batch(house: House) -> None:
    """While champion and challenger swap, every reader sees them on different versions."""
    await house.external(count=2)

    def swap(champion: int) -> list[Row]:
        return [
            {"action": "set_alias", "name": "m", "alias": "champion", "version": champion},
            {"action": "set_alias", "name": "m", "alias": "challenger", "version": 3 - champion},
        ]

    await house.do(change_set.apply_changes, swap(1))
    done = asyncio.Event()

    async def write() -> None:
        for number in range(30):
            await house.do(change_set.apply_changes, swap(1 + number % 2))
            await asyncio.sleep(0)
        done.set()

    async def read() -> int:
        reads = 0
        while not done.is_set():
            rows = await house.see(aliases.list_aliases, "m")
            assert sorted(row["version"] for row in rows) == [1, 2]
            reads += 1
        return reads

    _, *reads = await asyncio.gather(write(), read(), read())
    assert sum(reads) > 30


async def test_resolve_answers_each_uri_by_itself(house: House) -> None:
    """A URI that names nothing is an error beside the answers to the others, in the order asked."""
    version = await house.register("main.ml.iris")
    await house.register("main.ml.iris")
    await house.do(aliases.set_alias, "main.ml.iris", "champion", 1)
    await house.do(model_versions.transition_model_version_stage, "main.ml.iris", 1, "Production")
    await house.do(registered_models.create_registered_model, "empty")
    answers = {
        "models:/main.ml.iris/1": 1,
        "models:/main.ml.iris@champion": 1,
        "models:/main.ml.iris/production": 1,
        "models:/main.ml.iris/latest": 2,
        "models:/main.ml.iris@latest": 2,
        "models:/main.ml.iris/9": "RESOURCE_DOES_NOT_EXIST",
        "models:/main.ml.iris/Staging": "RESOURCE_DOES_NOT_EXIST",
        "models:/main.ml.iris@nobody": "INVALID_PARAMETER_VALUE",
        "models:/empty/latest": "RESOURCE_DOES_NOT_EXIST",
        "models:/nobody/1": "RESOURCE_DOES_NOT_EXIST",
        "runs:/abc/model": "INVALID_PARAMETER_VALUE",
        "nonsense:": "INVALID_PARAMETER_VALUE",
    }
    rows = await house.see(resolution.resolve, list(answers))
    assert [row["uri"] for row in rows] == list(answers)
    assert [row.get("version", row.get("error_code")) for row in rows] == list(answers.values())
    assert rows[0]["digest"] == version["manifest_digest"]
    assert rows[0]["location"] == version["location"]


# A step is (what, version): set to a version, delete, or roll back.
_STEPS = st.lists(
    st.one_of(st.tuples(st.just("set"), st.integers(1, 3)), st.tuples(st.sampled_from(["delete", "back"]), st.just(0))),
    max_size=8,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=_STEPS)
async def test_the_history_replays_to_every_state_there_was(house: House, steps: list[tuple[str, int]]) -> None:
    """Whatever was done, the moves in order lead from nothing to the present, each from where the last one led."""
    name = f"m{uuid4().hex}"
    await house.external(name, count=3)
    for what, version in steps:
        if what == "set":
            await house.do(aliases.set_alias, name, "a", version)
        elif what == "delete":
            await house.do(aliases.delete_alias, name, "a")
        else:
            before = await house.alias(name, "a")
            try:
                assert (await house.do(aliases.rollback_alias, name, "a"))["version"] != before
            except (InvalidParameterValue, ResourceDoesNotExist):
                assert await house.alias(name, "a") == before
    moves, _ = await house.see(aliases.alias_history, name, "a")
    state = None
    for move in reversed(moves):
        assert move["from_version"] == state != move["to_version"]
        state = move["to_version"]
    assert state == await house.alias(name, "a")
