"""The features of a CatBoost model: which columns it takes, and the splits that its trees may make of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Numbers, Tables, damaged

# Fields of the trees, by the schema.
_CATEGORIES, _FLOATS, _ONE_HOTS, _CTRS = range(4, 8)
_TEXTS, _ESTIMATES, _EMBEDDINGS = 12, 13, 18

# CatBoost makes room for as many columns as the last feature tells, and counts splits by 16 bits.
_MAX_COLUMNS = 1 << 20
_MAX_COMPUTED = 1 << 16


class Features(NamedTuple):
    """What other parts of a model have to fit."""

    splits: int
    ctrs: Tables
    estimates: Tables
    texts: Numbers
    embeddings: Numbers


def check_features(trees: Tables) -> Features:
    """The features, if each lies in a column of its own and those that are made of others are made of what is there.

    Raises:
        InvalidParameterValue: a column or a kind is out of range.
    """
    floats, categories = trees.tables(_FLOATS), trees.tables(_CATEGORIES)
    texts, embeddings = trees.tables(_TEXTS), trees.tables(_EMBEDDINGS)
    kinds = ((floats, 1), (categories, 0), (texts, 0), (embeddings, 0))
    last = max(_MAX_COLUMNS, 2 * sum(len(kind) for kind, _ in kinds))
    columns = [_columns(kind, field, last) for kind, field in kinds]
    positions = np.concatenate([position for _, position in columns])
    if len(np.unique(positions)) < len(positions):
        raise unsound("a column")
    in_range(floats.numbers(5, np.int8), 2, "a treatment of nulls")
    borders = floats.lengths(3, np.float32)
    category = columns[1][0][categories.numbers(3, np.uint8, 1) != 0]

    estimates, one_hots, ctrs = trees.tables(_ESTIMATES), trees.tables(_ONE_HOTS), trees.tables(_CTRS)
    if max(len(estimates), len(one_hots), len(ctrs)) > _MAX_COMPUTED:
        raise unsound("the number of features")
    encoded = one_hots.numbers(0, np.int32, -1)
    _among(encoded, category)
    if len(np.unique(encoded)) < len(encoded):
        raise unsound("an index")
    if len(ctrs):
        combinations = ctrs.table(0).table(0).table(0)
        _among(combinations.arrays(0, np.int32), category)
        # A split is the index of its feature and then a border or value.
        _among(combinations.arrays(1, np.int64).view(np.int32)[::2], columns[0][0][borders > 0])
        _among(combinations.arrays(2, np.int64).view(np.int32)[::2], category)
    computed = ((estimates, 3), (one_hots, 1), (ctrs, 1))
    splits = borders.sum() + sum(made.lengths(field, np.float32).sum() for made, field in computed)
    return Features(
        int(splits),
        ctrs,
        estimates,
        columns[2][0][texts.numbers(3, np.uint8, 1) != 0],
        columns[3][0][embeddings.numbers(4, np.uint8, 1) != 0],
    )


def in_range(numbers: Numbers, last: int, what: str) -> None:
    """Nothing, if the numbers are from 0 to `last`."""
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() <= last:
        raise unsound(what)


def unsound(what: str) -> InvalidParameterValue:
    """The error for a feature that does not fit."""
    return damaged(f"{what} of its features is out of range")


def _columns(features: Tables, field: int, last: int) -> tuple[Numbers, Numbers]:
    """The features' indices among their kind and their columns, which both have to grow."""
    indices, columns = features.numbers(field, np.int32, -1), features.numbers(field + 1, np.int32, -1)
    in_range(columns, last, "a column")
    in_range(indices, last, "an index")
    if (np.diff(indices) <= 0).any() or (np.diff(columns) <= 0).any():
        raise unsound("a column")
    return indices, columns


def _among(indices: Numbers | NDArray[np.int32], known: Numbers) -> None:
    if not np.isin(indices, known).all():
        raise unsound("an index")
