"""Tables by which CatBoost turns categories into numbers ("CTR"): hashes to rows of counts or of means.

CatBoost reads them as they come. A feature takes the table of its base: the features it combines, and the kind.

Source: catboost/libs/model (ctr_data.cpp, ctr_value_table.cpp, static_ctr_provider.cpp) of CatBoost 1.2.10.
"""

from collections import defaultdict

import numpy as np

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.catboost.byte_stream import ByteStream
from tiltyard.pyfunc.format.boosters.catboost.features import in_range
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Tables, damaged, root

_BORDERS, _BUCKETS, _MEANS, _FLOAT_MEANS, _COUNTER, _FREQUENCY = range(6)
# A hash of eight bytes, of which all are set where there is none, and a row.
_HASH = 12
_NO_HASH = 0xFFFFFFFFFFFFFFFF
_NO_ROW = 0xFFFFFFFF
_SIGN = 0x80000000

_MAX_TABLES = 1 << 16

Base = tuple[bytes, ...]
ClassCounts = dict[Base, list[int]]


def read_ctrs(stream: ByteStream) -> ClassCounts:
    """How many classes the tables of each base tell apart, if no table leads beyond its rows.

    Raises:
        InvalidParameterValue: one does.
    """
    counts: ClassCounts = defaultdict(list)
    if (tables := stream.length()) > _MAX_TABLES:
        raise _unsound("the number of tables")
    for _ in range(tables):
        # CatBoost takes the lower four bytes of a table's size alone.
        if (size := stream.length()) > _NO_ROW:
            raise _unsound("a size")
        table = root(stream.take(size))
        bases = table.table(0)
        classes = table.number(4, np.int32)
        table.look(np.int32, 3)
        _check_rows(table, bases.number(1, np.int8), classes)
        counts[_keys(bases)[0]].append(classes)
    return counts


def check_ctrs(features: Tables, counts: ClassCounts) -> None:
    """Nothing, if each feature has a table that has its class.

    Raises:
        InvalidParameterValue: one has not.
    """
    if not len(features):
        return
    ctrs = features.table(0)
    bases = ctrs.table(0)
    kinds = bases.numbers(1, np.int8)
    in_range(kinds, _FREQUENCY, "a kind")
    for base, kind, border in zip(_keys(bases), kinds, ctrs.numbers(1, np.int32), strict=True):
        if base not in counts:
            raise _unsound("a feature")
        if kind <= _BUCKETS and not 0 <= border < max(min(counts[base]), 2 if kind == _BORDERS else 0):
            raise _unsound("a class")


def _check_rows(table: Tables, kind: int, classes: int) -> None:
    hashes = table.array(1, np.uint8)
    count = len(hashes) // _HASH
    # CatBoost looks from hash to hash until it is at an empty one.
    if len(hashes) % _HASH or count & (count - 1) or not count:
        raise _unsound("a hash")
    buckets = hashes.reshape(count, _HASH)
    held = np.ascontiguousarray(buckets[:, :8]).view(np.uint64)[:, 0] != _NO_HASH
    rows = np.ascontiguousarray(buckets[:, 8:]).view(np.uint32)[:, 0]
    if held.all():
        raise _unsound("a hash")
    if kind in (_BORDERS, _BUCKETS):
        size = 4 * max(classes, 2 if kind == _BORDERS else 1)
    else:
        size = 8 if kind in (_MEANS, _FLOAT_MEANS) else 4
    used = rows[held & (rows != _NO_ROW)]
    if not table.has(2).all() or (len(used) and used.max() >= len(table.array(2, np.uint8)) // size):
        raise _unsound("a row")


def _keys(bases: Tables) -> list[Base]:
    """What tells the bases apart."""
    combined = bases.table(0)
    splits = (_without_signed_zero(split) for split in combined.texts(1, 8))
    ends = (b"%d %d" % end for end in zip(bases.numbers(1, np.int8), bases.numbers(2, np.int32), strict=True))
    return list(zip(combined.texts(0, 4), splits, combined.texts(2, 8), ends, strict=True))


def _without_signed_zero(splits: bytes) -> bytes:
    """Splits by floats of which two are equal exactly if their bytes are."""
    parts = np.frombuffer(splits, np.uint32).copy()
    parts[1::2][parts[1::2] == _SIGN] = 0
    return parts.tobytes()


def _unsound(what: str) -> InvalidParameterValue:
    return damaged(f"{what} of a table of categories is out of range")
