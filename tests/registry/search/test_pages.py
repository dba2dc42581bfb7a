"""Pages and their tokens: every row once, no token good for another query."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Select, delete, insert, select, update

from tests.registry.search import filters as f
from tests.registry.search.databases import SearchedDatabases, searched_databases
from tests.registry.search.rows import random_world
from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    OrderBy,
    Page,
    PageToken,
    Scope,
    query_digest,
)
from tiltyard_registry.search.compile import Dialect
from tiltyard_registry.search.page import ASK_AGAIN, ASK_AGAIN_AT_MOST
from tiltyard_registry.tables import models
from tiltyard_registry.tables.runs import runs

DIALECTS = ("sqlite", "postgresql")


@pytest.fixture(scope="module")
def databases(
    sqlite_template: Path, postgres_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SearchedDatabases]:
    """A random world, on both databases."""
    folder = tmp_path_factory.mktemp("search")
    with searched_databases(random_world(5), folder, sqlite_template, postgres_server) as opened:
        yield opened


def pages(databases: SearchedDatabases, dialect: str, scope: Scope, size: int, **asked: Any) -> list[list[Any]]:
    """All pages of a query, one token after another."""
    found = []
    token: str | None = None
    while True:
        rows, token = databases.page(dialect, scope, max_results=size, page_token=token, **asked)
        found.append(rows)
        if token is None:
            return found


QUERIES: list[tuple[Scope, dict[str, Any]]] = [
    # over columns without nulls: a page starts behind a row
    (RUNS, {}),
    (RUNS, {"order_by": ["status DESC", "start_time"], "filter": "metrics.k != 7 OR tags.k IS NULL"}),
    (EXPERIMENTS, {}),
    (EXPERIMENTS, {"order_by": ["last_update_time", "name DESC"]}),
    (REGISTERED_MODELS, {}),
    (REGISTERED_MODELS, {"order_by": ["timestamp DESC"]}),
    (MODEL_VERSIONS, {}),
    (MODEL_VERSIONS, {"order_by": ["version_number DESC"]}),
    (LOGGED_MODELS, {}),
    # over what may be absent: a page starts behind so many rows
    (RUNS, {"order_by": ["metrics.k DESC", "params.k"]}),
    (RUNS, {"order_by": ["metrics.k", "metrics.K DESC"], "filter": "metrics.k != 2.5 OR metrics.K IS NULL"}),
    (RUNS, {"order_by": ["end_time"]}),
    (LOGGED_MODELS, {"order_by": [OrderBy("metrics.k"), OrderBy("name", ascending=False)]}),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("scope", "asked"), QUERIES)
def test_pages_are_the_whole_cut_up(
    databases: SearchedDatabases, dialect: str, scope: Scope, asked: dict[str, Any]
) -> None:
    """One page after another gives the whole listing, in its order, each page full but the last."""
    whole = databases.listing(scope, asked.get("filter"), asked.get("order_by"))[dialect]
    assert len(whole) > 6
    for size in (1, 3, len(whole) - 1, len(whole), 1000):
        cut = pages(databases, dialect, scope, size, **asked)
        assert [row for page in cut for row in page] == whole
        assert [len(page) for page in cut[:-1]] == [size] * (len(cut) - 1)
        assert 0 < len(cut[-1]) <= size


@given(text=f.RUN_FILTERS, order=f.RUN_ORDERS, size=st.integers(1, 40))
def test_a_page_is_where_the_whole_begins(databases: SearchedDatabases, text: str, order: list[str], size: int) -> None:
    """Whatever is asked, and by whichever way the rows are found."""
    whole = databases.listing(RUNS, text, order)
    for dialect in DIALECTS:
        assert databases.page(dialect, RUNS, filter=text, order_by=order, max_results=size)[0] == whole[dialect][:size]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_shorter_way_that_led_nowhere_is_tried_again(dialect: Dialect) -> None:
    """Each time that it leaves a page short it is left alone for twice as long; where runs have come it is taken."""
    asked: list[Select[Any]] = []
    there: list[dict[str, Any]] = []

    async def found(statement: Select[Any]) -> list[dict[str, Any]]:
        asked.append(statement)
        return there

    async def statements() -> int:
        asked.clear()
        page = Page(RUNS, dialect=dialect, order_by=["metrics.k DESC"], max_results=1, within=f"nothing, {dialect}")
        await page.read(select(runs), found)
        return len(asked)

    most = ASK_AGAIN_AT_MOST
    pauses = [*(ASK_AGAIN << at for at in range(20) if ASK_AGAIN << at <= most), most, most]
    for pause in pauses:
        assert [await statements() for _ in range(1 + pause)] == [2, *[1] * pause]
    there += [{"run_id": "1"}, {"run_id": "2"}]
    assert await statements() == 1
    there.clear()
    assert [await statements() for _ in range(2 + ASK_AGAIN)] == [2, *[1] * ASK_AGAIN, 2]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_listing_by_columns_stays_whole_while_rows_come_and_go(databases: SearchedDatabases, dialect: str) -> None:
    """Rows that were there from the first page to the last come exactly once, whatever is added or removed."""
    whole = databases.listing(REGISTERED_MODELS, None)[dialect]
    first, token = databases.page(dialect, REGISTERED_MODELS, max_results=3)
    names = models.registered_models.c.name
    model = {"id": 9_999, "uuid": "u", "schema_id": 1, "creation_timestamp": 1, "last_updated_timestamp": 1}
    databases.execute(dialect, insert(models.registered_models).values(name="", **model))
    databases.execute(dialect, update(models.registered_models).where(names == first[2]).values(name="!renamed"))
    rest: list[Any] = []
    while token is not None:
        rows, token = databases.page(dialect, REGISTERED_MODELS, max_results=3, page_token=token)
        rest += rows
    assert first + rest == whole
    databases.execute(dialect, update(models.registered_models).where(names == "!renamed").values(name=first[2]))
    databases.execute(dialect, delete(models.registered_models).where(names == ""))


def token_of(databases: SearchedDatabases, scope: Scope, **asked: Any) -> str:
    """The token behind the first row."""
    _, token = databases.page("sqlite", scope, max_results=1, **asked)
    assert token is not None
    return token


@pytest.mark.parametrize(
    "other",
    [
        {"filter": "start_time >= 0"},
        {"order_by": ["start_time"]},
        {"order_by": ["metrics.k"]},
        {"within": ["2"]},
    ],
)
def test_a_token_is_good_for_its_own_query_alone(databases: SearchedDatabases, other: dict[str, Any]) -> None:
    """Another filter, order or set of experiments refuses the token; another page size does not."""
    token = token_of(databases, RUNS, within=["1"])
    databases.page("sqlite", RUNS, max_results=7, page_token=token, within=["1"])
    with pytest.raises(InvalidParameterValue, match="belongs to another query"):
        databases.page("sqlite", RUNS, max_results=1, page_token=token, **{"within": ["1"], **other})
    with pytest.raises(InvalidParameterValue, match="belongs to another query"):
        databases.page("sqlite", EXPERIMENTS, max_results=1, page_token=token, within=["1"])


def forged(query: str, position: object) -> str:
    """A token as we would write it, around any position."""
    return base64.urlsafe_b64encode(json.dumps([query, position]).encode()).decode()


BAD_POSITIONS = [
    None,
    -1,
    2**31,
    1.5,
    True,
    "5",
    [],
    {},
    [1],
    ["x", "y"],
    [1, 2],
    [1, "x", "y"],
    [2**63, "x"],
    [True, "x"],
    [1, "\x00"],
    [1, "\ud800"],
    [1, None],
    [[1], "x"],
]


@pytest.mark.parametrize("position", BAD_POSITIONS, ids=repr)
def test_a_forged_position_is_refused(databases: SearchedDatabases, position: object) -> None:
    """A position of the wrong shape, type or size is a bad token, by key and by offset, before any SQL."""
    for order in (None, ["metrics.k"]):
        if order is None and position == [1, "x"]:
            continue
        query = query_digest(RUNS.name, None, order or [], [], None)
        with pytest.raises(InvalidParameterValue, match="Invalid page token"):
            databases.page("sqlite", RUNS, max_results=1, order_by=order, page_token=forged(query, position))


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda b: base64.b64encode(b).decode())))
def test_any_text_is_no_token(text: str) -> None:
    """Whatever is sent as a token is refused as one, and never fails otherwise."""
    if text:
        with pytest.raises(InvalidParameterValue, match="Invalid page token"):
            Page(RUNS, max_results=1, dialect="sqlite", page_token=text)


@pytest.mark.parametrize("text", ["[" * 15_000, "A" * 100_000, "eyJvZmZzZXQiOiAxfQ==", "é", "\ud800", " "])
def test_odd_tokens_are_refused(text: str) -> None:
    """Deep, long, foreign and unreadable tokens are refused."""
    for token in (text, base64.b64encode(text.encode(errors="replace")).decode()):
        with pytest.raises(InvalidParameterValue, match="Invalid page token"):
            PageToken.decode(token, query="q")


@given(
    st.one_of(
        st.integers(0, 2**31 - 1),
        st.lists(
            st.one_of(
                st.integers(-(2**63) + 1, 2**63 - 1), st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
            )
        )
        .map(tuple)
        .filter(bool),
    )
)
def test_a_position_comes_back_from_its_token(position: Any) -> None:
    """A token gives back the position it was made of, with the types of the columns."""
    columns = None if isinstance(position, int) else [type(value) for value in position]
    token = PageToken.encode(position, query="q")
    assert PageToken.decode(token, query="q", columns=columns) == position
    assert token.isascii()


def test_an_empty_page_has_no_next(databases: SearchedDatabases) -> None:
    """A page of nothing, or of no size, ends the listing."""
    assert databases.page("sqlite", RUNS, max_results=5, filter="run_id = 'none'") == ([], None)
    assert databases.page("sqlite", RUNS, at_most=0) == ([], None)
