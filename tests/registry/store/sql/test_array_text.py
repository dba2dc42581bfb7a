"""Arrays that are sent as text are the arrays that the driver would have sent."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.postgres import Postgres
from tiltyard_registry.store.sql.array_text import array_parameter, array_texts
from tiltyard_registry.store.sql.database import Database

KINDS = ("text", "bigint", "float8", "bool")
INT64 = st.integers(-(2**63), 2**63 - 1)
# A NUL has no place in PostgreSQL, nor has half a surrogate pair in UTF-8.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(
    ["", "NULL", "null", "{}", "{a,b}", '"', "\\", '\\"', "a\\\\b", " ", "\n", "\t'", ",", "[1:2]={1,2}"]
)
ROWS = st.lists(st.tuples(TEXTS, INT64, st.floats(allow_nan=False), st.booleans()), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def empty_postgres_url(postgres_server: Postgres) -> str:
    return postgres_server.create_database(migrated=False)


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(ROWS, min_size=1, max_size=20))
def test_rows_come_as_they_were(empty_postgres_url: str, batches: list[list[tuple[str, int, float, bool]]]) -> None:
    """Texts with quotes and braces, the largest numbers, the smallest fractions, infinities: each value as it was."""
    arrays = ", ".join(array_parameter(number, kind) for number, kind in enumerate(KINDS, 1))

    async def stored() -> list[list[tuple[object, ...]]]:
        database = Database(empty_postgres_url)
        try:
            async with database.driver() as connection:
                asked = f"SELECT * FROM unnest({arrays})"
                return [
                    [tuple(row) for row in await connection.fetch(asked, *array_texts(KINDS, rows))] for rows in batches
                ]
        finally:
            await database.close()

    assert asyncio.run(stored()) == batches


def test_columns_beyond_the_types_are_left_out() -> None:
    """Rows may hold more than is inserted."""
    assert array_texts(("text", "bigint"), [("a", 1, True), ("b", 2, False)]) == ['{"a","b"}', "{1,2}"]
