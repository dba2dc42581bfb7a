"""Patterns of run names find what they would find by a look at every name, however far the index of names has come."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.registry.store_house import House
from tiltyard_registry.background.run_names import RunNames
from tiltyard_registry.gc import Plan, collect
from tiltyard_registry.search.patterns import parts
from tiltyard_registry.store.runs import run_names, run_search, runs

_NAMES = st.text(st.sampled_from("abAB-.\"'%_\\* é中ß"), min_size=1, max_size=8)
_PATTERNS = st.text(st.sampled_from("abAB-.\"'%_\\* é中ß%%"), min_size=1, max_size=8)


async def _started(house: House, *names: str) -> list[str]:
    return [(await house.do(runs.create_run, "0", run_name=name))["info"]["run_id"] for name in names]


async def _found(house: House, clause: str) -> list[str]:
    rows, _ = await house.see(run_search.find_runs, ["0"], filter=f"attributes.run_name {clause}", max_results=1000)
    return sorted(row["run_name"] for row in rows)


def _like(names: Sequence[str], pattern: str, *, exact: bool) -> list[str]:
    """What a pattern means, told by a regular expression; only ASCII letters have a case here."""
    pieces = re.findall(r"\\[%_\\]|.", pattern, re.DOTALL)
    wildcards = {"%": ".*", "_": "."}
    expression = "".join(wildcards.get(piece) or re.escape(piece[-1]) for piece in pieces)
    flags = re.DOTALL | (0 if exact else re.IGNORECASE | re.ASCII)
    return sorted(name for name in names if re.fullmatch(expression, name, flags))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(_NAMES, min_size=1, max_size=6), patterns=st.lists(_PATTERNS, min_size=1, max_size=4))
async def test_a_pattern_finds_the_names_that_are_like_it(house: House, names: list[str], patterns: list[str]) -> None:
    """Whatever is in either: of half of the runs before the index has them, and of all afterwards."""
    half = len(names) // 2
    made = await _started(house, *names[:half])
    await RunNames(house.database).catch_up()
    made += await _started(house, *names[half:])
    # Patterns of parts of the names, for most others find nothing.
    asked = [*patterns, *(f"%{name[1:5]}%" for name in names)]
    for _ in range(2):
        for pattern in asked:
            quoted = pattern.replace("'", "''")
            assert await _found(house, f"LIKE '{quoted}'") == _like(names, pattern, exact=True), pattern
            assert await _found(house, f"ILIKE '{quoted}'") == _like(names, pattern, exact=False), pattern
        await RunNames(house.database).catch_up()
    for run_id in made:
        await house.do(runs.delete_run, run_id)


async def test_a_run_is_found_by_its_new_name_at_once(house: House) -> None:
    """And by its old one no more, before the index has the new one and afterwards."""
    (run_id,) = await _started(house, "morning-glory")
    await RunNames(house.database).catch_up()
    await house.do(runs.update_run, run_id, run_name="evening-star")
    for _ in range(2):
        assert await _found(house, "LIKE '%evening%'") == ["evening-star"]
        assert await _found(house, "LIKE '%glory%'") == []
        await RunNames(house.database).catch_up()


async def test_a_run_in_the_place_of_a_purged_one_is_found(house: House) -> None:
    """The highest number of a row may be given again, to a run that the index does not have."""
    await _started(house, "stays-here")
    purged = await _started(house, "goes-away-1", "goes-away-2")
    await RunNames(house.database).catch_up()
    for run_id in purged:
        await house.do(runs.delete_run, run_id)
    await collect(house.database, house.artifacts, Plan(older_than_ms=-1000, grace_ms=-1000))
    await _started(house, "comes-instead")
    for _ in range(2):
        assert await _found(house, "LIKE '%comes-in%'") == ["comes-instead"]
        assert await _found(house, "LIKE '%-%'") == ["comes-instead", "stays-here"]
        await RunNames(house.database).catch_up()


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
async def test_the_index_is_brought_forward_piece_by_piece(house: House) -> None:
    """Some names at a time, for others wait for the transaction; what it has done it does not do again."""
    await _started(house, "one", "two", "three", "four", "five")
    pieces = 0
    while await run_names.lags(house.database):
        await run_names.index_some(house.database, at_once=2)
        pieces += 1
    assert pieces == 3
    assert await _found(house, "LIKE '%thre%'") == ["three"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("%run-77%", ["run-77"]),
        ("run_77", ["run"]),
        ("%ab%cd%", []),
        ("100\\%-done", ["100%-done"]),
        ("größer", []),
        ("数据处理%", ["数据处理"]),
        ("ΣΑΣ-run-", ["-run-"]),
    ],
)
def test_the_parts_of_a_pattern_are_what_every_like_text_holds(pattern: str, expected: list[str]) -> None:
    """Texts of three characters and more, without letters that fold in more than one way."""
    assert parts(pattern) == expected
