"""A bounded reader of FlatBuffers, which are bytes in which numbers tell where further bytes lie.

Readers elsewhere follow these numbers without looking; here none is followed that leads outside. Tables of one kind
are read together, a field of all of them as one array, so that a hundred thousand cost little more than one.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.tree_nodes import unsound

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Kind = TypeVar("Kind", bound=np.generic)

_MAX_TABLES = 1 << 22
# Several tables may share a vector, and whoever reads them has a copy for each.
_MAX_SHARING = 4


class Tables:
    """Tables of one kind, their fields by number. What a table does not hold has the default that the schema gives."""

    def __init__(self, data: Bytes, at: Numbers) -> None:
        self._data = data
        self._at = at
        self._layouts = at - gather(data, at, np.int32)
        self._sizes = gather(data, self._layouts, np.uint16)

    def __len__(self) -> int:
        return len(self._at)

    def has(self, field: int) -> NDArray[np.bool_]:
        """Which of the tables hold the field."""
        return self._offsets(field) > 0

    def numbers(self, field: int, kind: type[Kind], default: int = 0) -> Numbers:
        """A whole number of each table."""
        offsets = self._offsets(field)
        held = offsets > 0
        found = np.full(len(self), default, np.int64)
        found[held] = gather(self._data, self._at[held] + offsets[held], kind)
        return found

    def number(self, field: int, kind: type[Kind], default: int = 0) -> int:
        """A whole number of the only table."""
        return int(self.numbers(field, kind, default)[0])

    def look(self, kind: type[Kind], *fields: int) -> None:
        """Nothing, if the fields, of which the values do not matter, lie in the buffer."""
        for field in fields:
            self.numbers(field, kind)

    def structs(self, field: int, size: int) -> list[bytes]:
        """A struct of each table, as it is written; all must hold it."""
        offsets = self._offsets(field)
        _held(offsets)
        return _cut(self._data, self._at + offsets, np.full(len(self), size))

    def table(self, field: int) -> "Tables":
        """A further table of each table; all must hold it."""
        return Tables(self._data, self._targets(field))

    def tables(self, field: int) -> "Tables":
        """The tables in a vector of the only table."""
        return Tables(self._data, self._elements(field))

    def lengths(self, field: int, kind: type[Kind]) -> Numbers:
        """How long a vector of each table is."""
        return self._extents(field, np.dtype(kind).itemsize)[1]

    def array(self, field: int, kind: type[Kind]) -> NDArray[Kind]:
        """A vector of the only table, in place."""
        starts, lengths = self._extents(field, size := np.dtype(kind).itemsize)
        return self._data[int(starts[0]) :][: int(lengths[0]) * size].view(kind)

    def arrays(self, field: int, kind: type[Kind]) -> NDArray[Kind]:
        """A vector of each table, one behind the other."""
        starts, lengths = self._extents(field, size := np.dtype(kind).itemsize)
        before = np.cumsum(lengths) - lengths
        return gather(self._data, np.repeat(starts - before * size, lengths) + np.arange(lengths.sum()) * size, kind)

    def texts(self, field: int, size: int = 1) -> list[bytes]:
        """A text of each table, or a vector of it, as it is written, whose elements have that size."""
        starts, lengths = self._extents(field, size)
        return _cut(self._data, starts, lengths * size)

    def all_texts(self, field: int) -> list[bytes]:
        """The texts in a vector of the only table."""
        at = self._elements(field)
        return _cut(self._data, at + 4, gather(self._data, at, np.uint32).astype(np.int64))

    def _offsets(self, field: int) -> Numbers:
        """Where in each table the field lies, 0 if it is not held."""
        slot = 4 + 2 * field
        known = slot < self._sizes
        offsets = np.zeros(len(self), np.int64)
        offsets[known] = gather(self._data, self._layouts[known] + slot, np.uint16)
        return offsets

    def _targets(self, field: int) -> Numbers:
        """Where the field of each table leads."""
        offsets = self._offsets(field)
        _held(offsets)
        return _followed(self._data, self._at + offsets)

    def _extents(self, field: int, size: int) -> tuple[Numbers, Numbers]:
        """Where a vector of each table begins, and how long it is; nothing, if it is not held."""
        offsets = self._offsets(field)
        held = offsets > 0
        starts, lengths = np.zeros((2, len(self)), np.int64)
        at = _followed(self._data, self._at[held] + offsets[held])
        starts[held], lengths[held] = at + 4, gather(self._data, at, np.uint32)
        _within(self._data, starts, lengths * size)
        return starts, lengths

    def _elements(self, field: int) -> Numbers:
        """Where the elements of a vector of the only table lead; each is at a place of its own."""
        starts, lengths = self._extents(field, 4)
        if lengths[0] > _MAX_TABLES:
            raise damaged("it holds too many parts")
        at = _followed(self._data, starts[0] + 4 * np.arange(lengths[0]))
        if len(np.unique(at)) < len(at):
            raise damaged("a part of it is there twice")
        return at


def root(data: Bytes) -> Tables:
    """The table that a buffer begins with."""
    return Tables(data, _followed(data, np.zeros(1, np.int64)))


def gather(data: Bytes, at: Numbers, kind: type[Kind]) -> NDArray[Kind]:
    """What lies at these places, one number at each."""
    size = np.dtype(kind).itemsize
    _within(data, at, np.full(len(at), size), shared=True)
    found: NDArray[Kind] = data[at[:, np.newaxis] + np.arange(size)].view(kind).reshape(-1)
    return found


def damaged(what: str) -> InvalidParameterValue:
    """The error of a file in which something is not what CatBoost needs it to be."""
    return unsound("CatBoost", what)


def outside() -> InvalidParameterValue:
    """The error for a number that leads outside the file."""
    return damaged("it points to bytes outside of itself")


def _followed(data: Bytes, at: Numbers) -> Numbers:
    """Where the distances at these places lead."""
    return at + gather(data, at, np.uint32)


def _held(offsets: Numbers) -> None:
    if not offsets.all():
        raise damaged("a part of it is missing")


def _cut(data: Bytes, starts: Numbers, sizes: Numbers) -> list[bytes]:
    _within(data, starts, sizes)
    return [data[start : start + size].tobytes() for start, size in zip(starts, sizes, strict=True)]


def _within(data: Bytes, starts: Numbers, sizes: Numbers, *, shared: bool = False) -> None:
    """Nothing, if all bytes lie in the buffer, and are not many more than it has."""
    if len(starts) and (starts.min() < 0 or (starts + sizes).max() > len(data)):
        raise outside()
    if not shared and sizes.sum() > _MAX_SHARING * len(data):
        raise outside()
