"""What a Parquet file says of itself, read without the parser that trusts it: its schema, its chunks and their pages.

The parser of Arrow descends once for each level of a schema, so that a deep one would end the process, and so does
metadata of another shape than it expects. The sizes in a file's metadata are claims; each page's own header says what
becomes of it.

Source: parquet.thrift, https://github.com/apache/parquet-format.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tiltyard.errors import BadRequest
from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.payload.bounds import Bounds
from tiltyard.pyfunc.payload.columnar.thrift import LIST, STRUCT, Damaged, Reader, Steps

MAX_DEPTH = 64
_MAGIC = b"PAR1"

# Physical types, by their numbers: how many bytes a value has in memory. Texts have any number, and what has a fixed
# length says so itself.
_WIDTH_BYTES = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8}
TEXT, _FIXED = 6, 7

# Fields of FileMetaData, SchemaElement, RowGroup, ColumnChunk, ColumnMetaData and PageHeader.
_SCHEMA, _ROWS, _ROW_GROUPS, _ENCRYPTION = 2, 3, 4, 8
_TYPE, _LENGTH, _CHILDREN = 1, 2, 5
_COLUMNS, _GROUP_ROWS = 1, 3
_FILE_PATH, _METADATA, _CRYPTO, _ENCRYPTED = 1, 3, 8, 9
_CHUNK = {"type": 1, "codec": 4, "values": 5, "size_bytes": 7, "data_at": 9, "dictionary_at": 11}
_UNCOMPRESSED_BYTES, _COMPRESSED_BYTES = 2, 3
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 5, 7, 8
_VALUES, _ENCODING = 1, {_DATA_PAGE: 2, _DATA_PAGE_V2: 4, _DICTIONARY_PAGE: 2}


class Leaf(NamedTuple):
    """A column that has values: its physical type, the bytes of each, and how deep it lies."""

    type: int
    width_bytes: int
    depth: int


class Chunk(NamedTuple):
    """One column of one row group: which leaf, how many values, and where its pages are."""

    column: int
    leaf: Leaf
    is_compressed: bool
    values: int
    start: int
    size_bytes: int


class Page(NamedTuple):
    """What the header of one page says. `is_dictionary`: its values are those that other pages point to."""

    size_bytes: int
    values: int
    encoding: int
    is_dictionary: bool


class Layout(NamedTuple):
    """What a footer says."""

    rows: int
    chunks: list[Chunk]


def read_layout(body: Body, steps: Steps, bounds: Bounds) -> Layout:
    """What the footer of a file says.

    Raises:
        Damaged: it is no Parquet file, or one whose parts lie elsewhere or are encrypted.
        BadRequest: the schema is nested deeper than `MAX_DEPTH`.
        PayloadTooLarge: it has more columns or rows than allowed, or too much metadata.
    """
    if len(body) < 12 or bytes(body[-4:]) != _MAGIC:
        raise Damaged("The file has no Parquet footer.")
    size_bytes = int.from_bytes(bytes(body[-8:-4]), "little")
    if size_bytes > len(body) - 8:
        raise Damaged("The file is shorter than its footer.")
    reader = Reader(body[-8 - size_bytes : -8], steps)
    leaves: list[Leaf] = []
    chunks: list[Chunk] = []
    rows = group_rows = 0
    for field, kind in reader.fields():
        if field == _SCHEMA:
            leaves = list(_leaves(reader, kind, bounds))
        elif field == _ROWS:
            rows = reader.integer(kind)
        elif field == _ROW_GROUPS:
            for _ in reader.structs(kind):
                group_rows += _row_group(reader, leaves, chunks)
        elif field == _ENCRYPTION:
            raise Damaged("The file is encrypted.")
        else:
            reader.skip(kind)
    if rows < 0 or group_rows != rows:
        raise Damaged("The row groups do not have the file's rows.")
    bounds.check_rows(rows)
    return Layout(rows, chunks)


def pages(body: Body, chunk: Chunk, steps: Steps) -> Iterator[Page]:
    """The pages of one column chunk. Raises: Damaged, PayloadTooLarge."""
    reader = Reader(body[chunk.start : chunk.start + chunk.size_bytes], steps)
    while reader.at < len(reader.data):
        size_bytes = compressed_bytes = values = encoding = 0
        is_dictionary = False
        for field, kind in reader.fields():
            if field == _UNCOMPRESSED_BYTES:
                size_bytes = reader.integer(kind)
            elif field == _COMPRESSED_BYTES:
                compressed_bytes = reader.integer(kind)
            elif field in _ENCODING and kind == STRUCT:
                is_dictionary = field == _DICTIONARY_PAGE
                for inner, inner_kind in reader.fields():
                    if inner == _VALUES:
                        values = reader.integer(inner_kind)
                    elif inner == _ENCODING[field]:
                        encoding = reader.integer(inner_kind)
                    else:
                        reader.skip(inner_kind)
            else:
                reader.skip(kind)
        if min(size_bytes, compressed_bytes, values) < 0:
            raise Damaged("A page has a size below 0.")
        reader.at += compressed_bytes
        yield Page(size_bytes, values, encoding, is_dictionary)


def _leaves(reader: Reader, kind: int, bounds: Bounds) -> Iterator[Leaf]:  # noqa: PLR0912 - one per fault
    # How many more children each open group has.
    open_groups: list[int] = []
    for number, size in enumerate(reader.structs(kind)):
        if not number:
            bounds.check_columns(size - 1)
        found = {_TYPE: -1, _LENGTH: 0, _CHILDREN: 0}
        for field, inner in reader.fields():
            if field in found:
                found[field] = reader.integer(inner)
            else:
                reader.skip(inner)
        while open_groups and not open_groups[-1]:
            open_groups.pop()
        if number and not open_groups:
            raise Damaged("The schema has columns beside its root.")
        if number:
            open_groups[-1] -= 1
        if found[_CHILDREN] > 0 or not number:
            open_groups.append(max(0, found[_CHILDREN]))
            if len(open_groups) > MAX_DEPTH:
                raise BadRequest(f"The Parquet file's schema is nested over the limit of {MAX_DEPTH} levels.")
        elif found[_TYPE] in _WIDTH_BYTES:
            yield Leaf(found[_TYPE], _WIDTH_BYTES[found[_TYPE]], len(open_groups))
        elif found[_TYPE] in (TEXT, _FIXED) and found[_LENGTH] >= 0:
            yield Leaf(found[_TYPE], found[_LENGTH], len(open_groups))
        else:
            raise Damaged("The schema has a column of an unknown type.")
    if any(open_groups):
        raise Damaged("The schema ends within a group.")


def _row_group(reader: Reader, leaves: list[Leaf], chunks: list[Chunk]) -> int:
    """The rows of a row group, whose chunks are added."""
    rows, before = 0, len(chunks)
    for field, kind in reader.fields():
        if field == _COLUMNS and kind == LIST:
            for column, size in enumerate(reader.structs(kind)):
                if size != len(leaves):
                    raise Damaged("A row group does not have the schema's columns.")
                chunks.append(_chunk(reader, column, leaves[column]))
        elif field == _GROUP_ROWS:
            rows = reader.integer(kind)
        else:
            reader.skip(kind)
    if rows < 0 or len(chunks) - before != len(leaves):
        raise Damaged("A row group does not have the schema's columns.")
    return rows


def _chunk(reader: Reader, column: int, leaf: Leaf) -> Chunk:
    found = dict.fromkeys(_CHUNK.values(), -1)
    for field, kind in reader.fields():
        if field == _METADATA and kind == STRUCT:
            for inner, inner_kind in reader.fields():
                if inner in found:
                    found[inner] = reader.integer(inner_kind)
                else:
                    reader.skip(inner_kind)
        elif field in (_FILE_PATH, _CRYPTO, _ENCRYPTED):
            raise Damaged("A column is elsewhere, or encrypted.")
        else:
            reader.skip(kind)
    kind, codec, values, size_bytes, start, dictionary_at = (found[number] for number in _CHUNK.values())
    if kind != leaf.type or min(codec, values, size_bytes, start) < 0:
        raise Damaged("A column is not what the schema says.")
    if 0 < dictionary_at < start:
        start = dictionary_at
    return Chunk(column, leaf, codec != 0, values, start, size_bytes)
