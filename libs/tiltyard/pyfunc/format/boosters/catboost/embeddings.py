"""The part of a CatBoost file by which embeddings become numbers: projections, and classes of nearest neighbors.

Source: catboost/private/libs/embedding_features, library/cpp/online_hnsw of CatBoost 1.2.10.
"""

import numpy as np
from numpy.typing import NDArray

from tiltyard.pyfunc.format.boosters.catboost.byte_stream import ByteStream
from tiltyard.pyfunc.format.boosters.catboost.collections import (
    Computed,
    astray,
    each_once,
    guids,
    lists,
    read_calcer,
    read_part,
)
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Tables

_PROJECTION, _NEIGHBORS = 3, 4
_KINDS = {_PROJECTION: 1, _NEIGHBORS: 2}
_MAX_CLASSES = 1 << 16
_MAX_DIMENSION = 1 << 16
_MAX_LEVELS = 1 << 10


def read_embeddings(stream: ByteStream) -> Computed:
    """What the part computes, if all that its numbers point to exists.

    Raises:
        InvalidParameterValue: some does not.
    """
    stream.expect(b"embed_process_1")
    header = stream.table()
    calcers = guids(header, 0)
    per_feature = lists(header, 1, len(calcers))
    each_once(per_feature)
    outputs = {}
    for _ in calcers:
        _, name = read_part(stream, [calcers])
        kind, calcer, used = read_calcer(stream, b"EmbedCalcerV1", _KINDS)
        made, count = _read_projection(calcer) if kind == _PROJECTION else _read_neighbors(calcer, stream)
        if len(used) > count or (len(used) and used.max() >= made):
            raise astray("a number")
        outputs[name] = count
    if len(outputs) < len(calcers):
        raise astray("a name")
    return Computed(len(per_feature), outputs)


def _read_projection(calcer: Tables) -> tuple[int, int]:
    """How many numbers a projection makes, and for how many it has room."""
    dimension, classes, projected = (calcer.number(field, np.int32) for field in range(3))
    likelihoods, classified = calcer.number(3, np.uint8), calcer.number(5, np.uint8, 1)
    if (
        not 1 <= dimension <= _MAX_DIMENSION
        or projected < 1
        or dimension * projected != calcer.lengths(4, np.float32)[0]
    ):
        raise astray("a dimension")
    if not likelihoods:
        return projected, projected
    # The classes' centers are not in the file: CatBoost takes those of an empty projection of two classes.
    if not 0 <= classes <= 2 <= dimension:
        raise astray("a class")
    return projected + classes * bool(classified), projected + classes


def _read_neighbors(calcer: Tables, stream: ByteStream) -> tuple[int, int]:
    """How many numbers the nearest neighbors make, which is for how many they have room."""
    dimension, classes, size = calcer.number(0, np.int32), calcer.number(1, np.uint32), calcer.number(3, np.uint32)
    classified = calcer.number(4, np.uint8, 1)
    calcer.look(np.uint32, 2)
    targets = stream.array(np.uint32)
    index = stream.array(np.uint8)
    points = stream.array(np.uint32)
    if len(targets) != size or not 1 <= dimension <= _MAX_DIMENSION or dimension * size != len(points):
        raise astray("a neighbor")
    if classified and (not 1 <= classes <= _MAX_CLASSES or (size and targets.max() >= classes)):
        raise astray("a class")
    if len(index) % 4:
        raise astray("a neighbor")
    _check_graph(index.view(np.uint32), size)
    count = classes if classified else 1
    return count, count


def _check_graph(index: NDArray[np.uint32], size: int) -> None:
    """Levels of points that know neighbors of their level; the first level has all points, each further one fewer."""
    if len(index) < 2 or not index[0] or index[1] > min(_MAX_LEVELS, len(index) - 2):
        raise astray("a level")
    start = 2 + int(index[1])
    before = size
    for level in index[2:start].tolist():
        known = min(int(index[0]), level - 1)
        neighbors = index[start : start + known * level]
        start += known * level
        if not 1 <= level <= before or (len(neighbors) and neighbors.max() >= level):
            raise astray("a neighbor")
        before = level
    if start != len(index):
        raise astray("a level")
