"""Collections of what computes numbers for a CatBoost model, its "calcers": of texts, and of embeddings.

CatBoost reads these parts of a file as they come, and follows their numbers without looking.

Source: catboost/private/libs/text_features, embedding_features of CatBoost 1.2.10.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.catboost.byte_stream import ByteStream
from tiltyard.pyfunc.format.boosters.catboost.features import Features, in_range, unsound
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Numbers, Tables, damaged

_GUID = 16
_MAX_PARTS = 1 << 14
# CatBoost makes room for as many in each block of rows.
_MAX_OUTPUTS = 1 << 20


class Computed(NamedTuple):
    """From how many features a collection computes, and how many numbers each of its calcers makes."""

    features: int
    outputs: Mapping[bytes, int]


def check_estimates(features: Features, texts: Computed | None, embeddings: Computed | None) -> None:
    """Nothing, if all that features take from collections is computed there.

    Raises:
        InvalidParameterValue: some is not.
    """
    estimates = features.estimates
    if not len(estimates):
        return
    _check_used(features.texts, texts)
    _check_used(features.embeddings, embeddings)
    for computed in (texts, embeddings):
        if computed is not None and sum(computed.outputs.values()) > _MAX_OUTPUTS:
            raise unsound("the number of computed numbers")
    names, numbers, kinds = (
        estimates.structs(1, _GUID),
        estimates.numbers(2, np.int32, -1),
        estimates.numbers(4, np.int8),
    )
    in_range(kinds, 1, "a kind")
    for name, number, kind in zip(names, numbers, kinds, strict=True):
        computed = embeddings if kind else texts
        if computed is None or not 0 <= number < computed.outputs.get(name, 0):
            raise unsound("a computed number")


def guids(header: Tables, field: int) -> list[bytes]:
    """The names in a vector of a collection's header."""
    (names,) = header.texts(field, _GUID)
    found = [names[start : start + _GUID] for start in range(0, len(names), _GUID)]
    if not header.has(field).all() or len(found) > _MAX_PARTS or len(set(found)) < len(found):
        raise astray("a name")
    return found


def lists(header: Tables, field: int, known: int) -> list[list[int]]:
    """The lists in a vector of a collection's header, of numbers below `known` of which none comes twice in a list."""
    tables = header.tables(field)
    if not header.has(field).all() or not tables.has(0).all():
        raise astray("a list")
    found = [np.frombuffer(numbers, np.uint32).tolist() for numbers in tables.texts(0, 4)]
    if any(len(set(numbers)) < len(numbers) or max(numbers, default=-1) >= known for numbers in found):
        raise astray("a number")
    return found


def each_once(numbers: Sequence[Sequence[int]]) -> list[int]:
    """The numbers of all lists, of which none comes in two."""
    found = [number for one in numbers for number in one]
    if len(set(found)) < len(found):
        raise astray("a number")
    return found


def read_part(stream: ByteStream, known: Sequence[Collection[bytes]]) -> tuple[int, bytes]:
    """The kind and the name of the part that comes next, one of those that are known of its kind."""
    table = stream.table()
    kind, (name,) = table.number(0, np.uint8), table.structs(1, _GUID)
    if kind >= len(known) or name not in known[kind]:
        raise astray("a name")
    return kind, name


def read_calcer(stream: ByteStream, word: bytes, kinds: Mapping[int, int]) -> tuple[int, Tables, NDArray[np.uint32]]:
    """The kind of the calcer that comes next, what it consists of, and which of its numbers are used.

    Args:
        word: what calcers of the collection begin with.
        kinds: of each kind that may come, the one of the table that it consists of.
    """
    stream.expect(word)
    kind, calcer = stream.number(np.uint32), stream.table()
    # CatBoost reads its name too.
    calcer.structs(0, _GUID)
    if kinds.get(kind) != calcer.number(2, np.uint8) or not calcer.has(1).all():
        raise astray("a kind")
    return kind, calcer.table(3), calcer.array(1, np.uint32)


def astray(what: str) -> InvalidParameterValue:
    """The error for a part that leads astray."""
    return damaged(f"{what} of a part for texts or embeddings is out of range")


def _check_used(indices: Numbers, computed: Computed | None) -> None:
    if len(indices):
        in_range(indices, -1 if computed is None else computed.features - 1, "an index")
