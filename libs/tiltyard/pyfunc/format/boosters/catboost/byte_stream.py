"""The bytes of a file one after the other, as CatBoost's streams write them."""

import numpy as np
from numpy.typing import NDArray

from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Bytes, Kind, Tables, outside, root

_LONG = 0xFFFFFFFF


class ByteStream:
    """What of the bytes is not read yet."""

    def __init__(self, data: Bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> Bytes:
        """The next `size` bytes."""
        if size > len(self._data) - self._at:
            raise outside()
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, kind: type[Kind]) -> int:
        """The next whole number."""
        return int(self.take(np.dtype(kind).itemsize).view(kind)[0])

    def length(self) -> int:
        """The next length: four bytes, or eight where these are not enough."""
        short = self.number(np.uint32)
        return self.number(np.uint64) if short == _LONG else short

    def array(self, kind: type[Kind]) -> NDArray[Kind]:
        """The next array, which its length goes before."""
        return self.take(self.length() * np.dtype(kind).itemsize).view(kind)

    def table(self) -> Tables:
        """The next FlatBuffer, which its size in eight bytes goes before."""
        return root(self.take(self.number(np.uint64)))

    def expect(self, word: bytes) -> None:
        """Pass over a word that is filled up to sixteen bytes."""
        if self.take(16)[: len(word)].tobytes() != word:
            raise outside()
