"""A FlatBuffer in which a number leads outside is refused before anything there is read."""

import numpy as np
import pytest

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Bytes, Tables, root

# A table of four fields: 7, the vector (1, 2, 3), nothing, and a vector of two tables that hold the same 7 and vector.
WORDS = [
    24,  # where the table is
    *(12 | 16 << 16, 4 | 8 << 16, 0 | 12 << 16),  # the layout of all: its size, theirs, and where their fields are
    *(0, 0),
    *(20, 7, 52, 4),  # the table: how far back its layout is, and its fields
    *(2, 8, 20),
    *(48, 7, 24, 0),  # the two others
    *(64, 7, 8, 0),
    *(3, 1, 2, 3),
]


def buffer(**words: int) -> Bytes:
    """The buffer, some of its words changed: those of the numbers after the `_`."""
    changed = WORDS.copy()
    for name, word in words.items():
        changed[int(name[1:])] = word
    return np.array(changed, np.int64).astype(np.uint32).view(np.uint8)


def everything(table: Tables) -> list[object]:
    """All that the table holds."""
    return [
        table.number(0, np.int32),
        table.array(1, np.uint32).tolist(),
        table.number(2, np.int32, 5),
        table.number(9, np.int32, 6),
        table.tables(3).numbers(0, np.int32).tolist(),
        table.tables(3).arrays(1, np.uint32).tolist(),
    ]


def test_what_a_buffer_holds_is_read() -> None:
    """Numbers, vectors and tables, and the defaults of what is not there."""
    assert everything(root(buffer())) == [7, [1, 2, 3], 5, 6, [7, 7], [1, 2, 3, 1, 2, 3]]


@pytest.mark.parametrize("word", [0, 2, 3, 6, 8, 9, 10, 11, 12, 13, 15, 17, 19, 21])
@pytest.mark.parametrize("value", [2**31 - 1, 0x7000_7000])
def test_a_number_that_leads_outside_is_refused(word: int, value: int) -> None:
    """Wherever it stands: at a table, its layout, its fields, or a vector's length and elements."""
    with pytest.raises(InvalidParameterValue):
        everything(root(buffer(**{f"_{word}": value})))


@pytest.mark.parametrize("size", range(0, 4 * len(WORDS), 3))
def test_a_buffer_that_ends_early_is_refused(size: int) -> None:
    """Wherever it was cut."""
    with pytest.raises(InvalidParameterValue):
        everything(root(buffer()[:size]))


def test_a_vector_is_not_copied_without_end() -> None:
    """Tables may share a vector, but not so many that their copies are far more than the buffer."""
    count = length = 40
    words = [*WORDS[:10], count]
    first, end = len(words) + count, len(words) + 5 * count
    words += (4 * (first + 4 * index - (first - count + index)) for index in range(count))
    for at in range(first, end, 4):
        words += (4 * (at - 1), 7, 4 * (end - at - 2), 0)
    shared = root(np.array([*words, length, *range(length)], np.uint32).view(np.uint8)).tables(3)
    assert len(shared.arrays(1, np.uint8)) == length * count
    with pytest.raises(InvalidParameterValue):
        shared.arrays(1, np.uint32)


def test_a_table_is_not_there_twice() -> None:
    """A vector of tables has each table once, so there are no more of them than the buffer has room for."""
    with pytest.raises(InvalidParameterValue):
        root(buffer(_12=4)).tables(3)
