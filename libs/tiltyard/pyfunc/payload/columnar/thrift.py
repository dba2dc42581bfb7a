"""Values in the compact protocol of Thrift, read one after another; nothing is built of what is not asked for.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterator

from tiltyard.errors import BadRequest, PayloadTooLarge
from tiltyard.pyfunc.json_text import Body

# Each is about a microsecond's work.
_MAX_STEPS = 4_000_000
_MAX_DEPTH = 16

_TRUE, _FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_INTEGERS = (I16, I32, I64)


class Damaged(BadRequest):
    """This is no such data."""


class Steps:
    """How much of a file's metadata may still be looked at."""

    def __init__(self) -> None:
        self._left = _MAX_STEPS

    def take(self) -> None:
        """Raises: PayloadTooLarge, when it is more than any file needs."""
        self._left -= 1
        if self._left < 0:
            raise PayloadTooLarge(f"The file's metadata has more than {_MAX_STEPS} values.")


class Reader:
    """Reads `data` from `at` on. Each method raises Damaged where the data is not what it is read as."""

    def __init__(self, data: Body, steps: Steps) -> None:
        self.data = data
        self.at = 0
        self._steps = steps

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a struct; whoever asks for the next has read or skipped the value.

        They must rise, as every writer writes them: of a field that is there twice, readers differ in which counts.
        """
        field = 0
        while head := self._byte():
            delta = head >> 4
            number = field + delta if delta else self._zigzag()
            if number <= field:
                raise Damaged("The fields of a struct are not in order.")
            field = number
            yield field, head & 0x0F

    def integer(self, kind: int) -> int:
        """A whole number, which a field of that type must be."""
        if kind not in _INTEGERS:
            raise Damaged("A field is not a number.")
        return self._zigzag()

    def structs(self, kind: int) -> Iterator[int]:
        """How many structs a list has, once for each of them; whoever asks for the next has read it."""
        if kind != LIST:
            raise Damaged("A field is not a list.")
        inner, size = self._list()
        if size and inner != STRUCT:
            raise Damaged("A list is not one of structs.")
        for _ in range(size):
            yield size

    def skip(self, kind: int, depth: int = 0) -> None:
        """Goes past a value."""
        if depth > _MAX_DEPTH:
            raise Damaged("The metadata is nested too deeply.")
        if kind in _INTEGERS:
            self._varint()
        elif kind == BYTE:
            self._byte()
        elif kind == BINARY:
            size_bytes = self._varint()
            self.at += size_bytes
        elif kind == DOUBLE:
            self.at += 8
        elif kind in (LIST, SET):
            inner, size = self._list()
            for _ in range(size):
                # In a list, a boolean is a byte.
                self.skip(BYTE if inner in (_TRUE, _FALSE) else inner, depth + 1)
        elif kind == MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            for _ in range(size):
                self.skip(kinds >> 4, depth + 1)
                self.skip(kinds & 0x0F, depth + 1)
        elif kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind not in (_TRUE, _FALSE):
            raise Damaged("The metadata has a value of an unknown type.")

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        size = head >> 4
        return head & 0x0F, self._varint() if size == 0x0F else size

    def _byte(self) -> int:
        self._steps.take()
        if self.at >= len(self.data):
            raise Damaged("The metadata ends too early.")
        byte = self.data[self.at]
        self.at += 1
        return byte

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise Damaged("The metadata has a number of too many bytes.")
