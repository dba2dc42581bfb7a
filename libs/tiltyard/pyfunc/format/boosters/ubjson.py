"""UBJSON as XGBoost writes it, read within its bounds. Source: ubjson.org, and XGBoost's `UBJReader` at v3.2.0."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tiltyard.errors import InvalidParameterValue

_MAX_LEVELS = 64
_SCALARS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}


def read(data: bytes) -> Any:
    """What the text says: objects as dicts, lists as lists, lists of one type of numbers as arrays.

    Raises:
        InvalidParameterValue: it is cut off, nested too deeply, or no UBJSON of the kind that XGBoost reads.
    """
    return _Reader(data).value(_MAX_LEVELS)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self, levels: int) -> Any:
        """The value that begins here."""
        kind = self._take(1)
        if kind in _SCALARS:
            return self._numbers(_SCALARS[kind], 1)[0].item()
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind == b"S":
            return self._text()
        if kind == b"C":
            return self._take(1)
        read: Callable[[int], Any] | None = {b"{": self._object, b"[": self._list}.get(kind)
        if read is None or not levels:
            raise _invalid()
        return read(levels - 1)

    def _object(self, levels: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._next() != b"}":
            name = self._text()
            if name in found:
                raise _invalid()
            found[name] = self.value(levels)
        self._at += 1
        return found

    def _list(self, levels: int) -> Any:
        kind = None
        if self._next() == b"$":
            self._at += 1
            kind = _SCALARS.get(self._take(1))
            if kind is None or self._next() != b"#":
                raise _invalid()
        if self._next() != b"#":
            found = []
            while self._next() != b"]":
                found.append(self.value(levels))
            self._at += 1
            return found
        self._at += 1
        count = self._count()
        if kind is not None:
            return self._numbers(kind, count)
        # Each value takes a byte at least.
        if count > len(self._data) - self._at:
            raise _invalid()
        return [self.value(levels) for _ in range(count)]

    def _count(self) -> int:
        if self._take(1) != b"L":
            raise _invalid()
        count: int = struct.unpack(">q", self._take(8))[0]
        return count

    def _text(self) -> str:
        # XGBoost's texts are bytes of any kind.
        return self._take(self._count()).decode("utf-8", "surrogateescape")

    def _numbers(self, kind: str, count: int) -> Any:
        dtype = np.dtype(kind)
        # Checked before anything is multiplied or reserved.
        if not 0 <= count <= (len(self._data) - self._at) // dtype.itemsize:
            raise _invalid()
        found = np.frombuffer(self._data, dtype, count, self._at)
        self._at += count * dtype.itemsize
        return found

    def _next(self) -> bytes:
        found = self._data[self._at : self._at + 1]
        if not found:
            raise _invalid()
        return found

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise _invalid()
        self._at += count
        return self._data[self._at - count : self._at]


def _invalid() -> InvalidParameterValue:
    return InvalidParameterValue("The XGBoost model is damaged: its file is cut off, or no UBJSON.")
