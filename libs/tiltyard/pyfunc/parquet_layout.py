"""What a Parquet file says of itself, read without the parser that trusts it: how deep its schema is, and its pages.

The parser of Arrow descends once for each level of a schema, so that a deep one would end the process; and the sizes
in a file's metadata are claims, while each page's own header says what becomes of it.

Source: parquet.thrift and the compact protocol of Thrift, https://github.com/apache/parquet-format.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tiltyard.errors import BadRequest, PayloadTooLarge
from tiltyard.pyfunc.form import Body

MAX_DEPTH = 64
# A footer of fewer bytes has no room for a schema that is too deep for the parser.
_SMALL_FOOTER_BYTES = 2048
# Each is about a microsecond's work here.
_MAX_STEPS = 4_000_000
_TAIL = b"PAR1"

# Types of the compact protocol.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_INTEGERS = (_I16, _I32, _I64)

# Fields of FileMetaData and SchemaElement; of PageHeader and the headers of its kinds.
_SCHEMA, _CHILDREN = 2, 5
_KIND, _UNCOMPRESSED_BYTES, _COMPRESSED_BYTES = 1, 2, 3
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 5, 7, 8
_VALUES, _ENCODING = 1, {_DATA_PAGE: 2, _DATA_PAGE_V2: 4, _DICTIONARY_PAGE: 2}


class Page(NamedTuple):
    """What the header of one page says. `is_dictionary`: its values are those that other pages point to."""

    size_bytes: int
    values: int
    encoding: int
    is_dictionary: bool


class Damaged(BadRequest):
    """The metadata is none."""


class Steps:
    """How much of a file's metadata may still be looked at."""

    def __init__(self) -> None:
        self._left = _MAX_STEPS

    def take(self, number: int = 1) -> None:
        """Raises: PayloadTooLarge, when it is more than any file needs."""
        self._left -= number
        if self._left < 0:
            raise PayloadTooLarge(f"The Parquet file's metadata has more than {_MAX_STEPS} fields.")


def check_schema(body: Body, steps: Steps, max_columns: int) -> None:
    """Nothing, if the schema is no deeper and wider than can be read.

    Raises:
        Damaged: the file has no footer.
        BadRequest: the schema is nested deeper than `MAX_DEPTH`.
        PayloadTooLarge: it has more than `max_columns` elements, or too much metadata.
    """
    if len(body) < 12 or bytes(body[-4:]) != _TAIL:
        raise Damaged("The file has no Parquet footer.")
    size_bytes = int.from_bytes(bytes(body[-8:-4]), "little")
    if size_bytes > len(body) - 8:
        raise Damaged("The file is shorter than its footer.")
    if size_bytes < _SMALL_FOOTER_BYTES:
        return
    reader = _Reader(body[-8 - size_bytes : -8], steps)
    for field, kind in reader.fields():
        # A field that is there twice counts as it is read last, so each of them is looked at.
        if field == _SCHEMA and kind == _LIST:
            _check_elements(reader, max_columns)
        else:
            reader.skip(kind)


def pages(body: Body, start: int, size_bytes: int, steps: Steps) -> Iterator[Page]:
    """The pages of one column chunk, which begins there in the file. Raises: Damaged, PayloadTooLarge."""
    reader = _Reader(body[start : start + size_bytes], steps)
    while reader.at < len(reader.data):
        found = {_UNCOMPRESSED_BYTES: 0, _COMPRESSED_BYTES: 0}
        values = encoding = 0
        is_dictionary = False
        for field, kind in reader.fields():
            if field in found and kind in _INTEGERS:
                found[field] = reader.integer()
            elif field in _ENCODING and kind == _STRUCT:
                is_dictionary = field == _DICTIONARY_PAGE
                for inner, inner_kind in reader.fields():
                    if inner == _VALUES and inner_kind in _INTEGERS:
                        values = reader.integer()
                    elif inner == _ENCODING[field] and inner_kind in _INTEGERS:
                        encoding = reader.integer()
                    else:
                        reader.skip(inner_kind)
            else:
                reader.skip(kind)
        if found[_COMPRESSED_BYTES] < 0 or found[_UNCOMPRESSED_BYTES] < 0 or values < 0:
            raise Damaged("A page of the file has a size below 0.")
        reader.at += found[_COMPRESSED_BYTES]
        yield Page(found[_UNCOMPRESSED_BYTES], values, encoding, is_dictionary)


def _check_elements(reader: "_Reader", max_columns: int) -> None:
    kind, elements = reader.list_of()
    if elements > max_columns:
        raise PayloadTooLarge(
            f"The Parquet file's schema has {elements} elements, over the limit 'max_columns' of {max_columns}."
        )
    # How many more children each open group has.
    open_groups: list[int] = []
    for _ in range(elements):
        if kind != _STRUCT:
            reader.skip(kind)
            continue
        children = 0
        for field, inner_kind in reader.fields():
            if field == _CHILDREN and inner_kind in _INTEGERS:
                children = max(children, reader.integer())
            else:
                reader.skip(inner_kind)
        while open_groups and not open_groups[-1]:
            open_groups.pop()
        if open_groups:
            open_groups[-1] -= 1
        if children:
            open_groups.append(children)
        if len(open_groups) > MAX_DEPTH:
            raise BadRequest(f"The Parquet file's schema is nested over the limit of {MAX_DEPTH} levels.")


class _Reader:
    """Values of the compact protocol, one after another."""

    def __init__(self, data: Body, steps: Steps) -> None:
        self.data = data
        self.at = 0
        self._steps = steps

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a struct; whoever asks for the next has read or skipped the value."""
        field = 0
        while head := self._byte():
            delta = head >> 4
            field = field + delta if delta else self.integer()
            yield field, head & 0x0F

    def integer(self) -> int:
        """A number in zigzag form."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def list_of(self) -> tuple[int, int]:
        """The type and number of a list's elements."""
        head = self._byte()
        size = head >> 4
        return head & 0x0F, self._varint() if size == 0x0F else size

    def skip(self, kind: int, depth: int = 0) -> None:
        """Goes past a value."""
        if depth > MAX_DEPTH:
            raise Damaged("The metadata is nested too deeply.")
        if kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _BYTE:
            self._byte()
        elif kind == _BINARY:
            size_bytes = self._varint()
            self.at += size_bytes
        elif kind == _DOUBLE:
            self.at += 8
        elif kind in (_LIST, _SET):
            inner, size = self.list_of()
            for _ in range(size):
                # In a list, a boolean is a byte.
                self.skip(_BYTE if inner in (_TRUE, _FALSE) else inner, depth + 1)
        elif kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            for _ in range(size):
                self.skip(kinds >> 4, depth + 1)
                self.skip(kinds & 0x0F, depth + 1)
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind not in (_TRUE, _FALSE):
            raise Damaged("The metadata has a value of an unknown type.")

    def _byte(self) -> int:
        self._steps.take()
        if self.at >= len(self.data):
            raise Damaged("The metadata ends too early.")
        byte = self.data[self.at]
        self.at += 1
        return byte

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
