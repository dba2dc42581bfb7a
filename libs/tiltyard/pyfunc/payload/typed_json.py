"""Bodies whose values are of the types that the signature foretells: one parse, straight into typed columns.

The general route parses JSON into plain values, then casts and checks them one by one. A decoder made for the
signature does all of that while it parses. It takes only what needs no cast and no second look; whatever it
does not take, the general route reads, or refuses with a message that says why.
"""

import re
import secrets
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np

from tiltyard.errors import BadRequest
from tiltyard.pyfunc.data_types import DataType
from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.payload.casts import Coerce
from tiltyard.pyfunc.payload.casts.columns import cast_column, object_array
from tiltyard.pyfunc.payload.data import Payload, joined
from tiltyard.pyfunc.schema import ColSpec, Schema

# Below, every integer is a float of the width; a number from there on is looked at by the general route.
_EXACT = {DataType.float: 2.0**24, DataType.double: 2.0**53}
_RANGE = {DataType.integer: 2**31, DataType.long: 2**63}

# The parser looks for a key of a record at the place after the last one, and then, one by one, at all others. Keys in
# another order take the product of both: so records have few fields, and few of them are read at once.
MAX_FIELDS = 1000
COMPARED_AT_ONCE = 1_000_000
COMPARED_IN_PIECE = 4_000_000
_LEAST_FIELD_BYTES = len('"":1,')
# Nor are all read so, when the first ones show that they take long.
SLOW_S_PER_BYTE = 150e-9
_MAX_SLOW = 3

# What reading plain cells takes beside 3 ns a byte, on a machine that is neither slow nor quick.
BRIEF_S = 4e-3
CELL_S = 100e-9
ROW_S = 300e-9
_COMMA = ord(",")

# A larger body is read in pieces of rows.
AT_ONCE_BYTES = 512 * 1024
PIECE_BYTES = 128 * 1024
# What comes before the rows, and what a row may have: else the general route reads the body.
_MAX_HEAD_BYTES = 4 * 1024 * 1024
_MAX_ROW_BYTES = 2 * 1024 * 1024
_ROWS_BEGIN = re.compile(rb'"(data|dataframe_records)"[ \t\n\r]*+:[ \t\n\r]*+\[')
_BETWEEN_ROWS = re.compile(rb"\][ \t\n\r]*+,[ \t\n\r]*+\[")
_BETWEEN_RECORDS = re.compile(rb"\}[ \t\n\r]*+,[ \t\n\r]*+\{")


class _Untaken(Exception):
    """The body is not what a decoder takes."""


class TypedDecoder:
    """Reads `dataframe_split` and `dataframe_records` bodies whose columns are just those of the signature."""

    def __init__(self, schema: Schema, coerce: Coerce) -> None:
        """`schema` is one that `typed_decoder` takes."""
        self._names = schema.names
        self._name_tuple = schema.name_tuple
        self._specs = schema.columns
        self._matrix_dtype = None if schema.matrix_dtype is None else np.dtype(schema.matrix_dtype)
        self._plain = all(spec.type in _MAKERS for spec in schema.columns)
        self._makers = [_MAKERS.get(spec.type, _cast(coerce)) for spec in schema.columns]  # type: ignore[arg-type]
        cells = [_cell(spec) for spec in schema.columns]
        row: Any = tuple[tuple(cells)]  # type: ignore[misc]
        if self._matrix_dtype is not None:
            width = msgspec.Meta(min_length=len(cells), max_length=len(cells))
            row = Annotated[list[cells[0]], width]  # type: ignore[valid-type]
        fields = [(f"cell_{i}", cell) for i, cell in enumerate(cells)]
        record: Any = None
        if len(cells) <= MAX_FIELDS:
            record = msgspec.defstruct(
                "Record",
                fields,
                rename={f"cell_{i}": str(name) for i, name in enumerate(schema.names)},
                forbid_unknown_fields=True,
                gc=False,
            )
        self._decode = msgspec.json.Decoder(_body_of(row, record)).decode
        # The same in pieces: rows, and what is around them, with a mark in the place of those read before.
        self._decode_rest = msgspec.json.Decoder(_body_of(row | str, None if record is None else record | str)).decode
        self._decode_rows = msgspec.json.Decoder(list[row]).decode
        self._decode_records = None if record is None else msgspec.json.Decoder(list[record]).decode
        shortest = min(len(str(name)) for name in schema.names) + _LEAST_FIELD_BYTES
        # Up to which size records are read within 5 ms, whatever the order of their keys.
        self.at_once_bytes = AT_ONCE_BYTES if record is None else shortest * COMPARED_AT_ONCE // len(cells)
        self._most_commas = int(BRIEF_S / (CELL_S + ROW_S / len(cells))) if self._plain else 0
        self._record_piece_bytes = min(PIECE_BYTES, shortest * COMPARED_IN_PIECE // len(cells))

    def is_brief(self, body: Body) -> bool:
        """Whether reading it takes at most about 5 ms, told by its size and by how many values it may hold."""
        if len(body) > min(self.at_once_bytes, AT_ONCE_BYTES) or not self._most_commas:
            return False
        return bool(np.count_nonzero(np.frombuffer(body, dtype=np.uint8) == _COMMA) <= self._most_commas)

    def __call__(self, body: Body) -> Payload | None:
        """The payload, or None when the general route has to look at the body."""
        if len(body) > AT_ONCE_BYTES:
            return self._in_pieces(body)
        try:
            fields: Any = self._decode(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        parsed_at_s = time.perf_counter()
        rows = self._rows(fields)
        if not rows:
            return None
        payload: Payload | None
        if self._matrix_dtype is not None:
            payload = Payload.matrix(np.array(rows, dtype=self._matrix_dtype), self._name_tuple)
        else:
            payload = self._payload([self._data(rows)], len(rows))
        if payload is not None:
            payload.parsed_at_s = parsed_at_s
        return payload

    def _rows(self, fields: Any, before: int = 0) -> Sequence[Any] | None:
        """The rows of a body, of which so many were read before it, in the place of its first one."""
        split, records = fields.dataframe_split, fields.dataframe_records
        if (split is msgspec.UNSET) == (records is msgspec.UNSET):
            return None
        if split is msgspec.UNSET:
            return _tuples(records) if not before else records
        rows: Sequence[Any] = split.data
        count = before + len(rows) - (1 if before else 0)
        right = split.columns == self._names and (split.index is None or split.index == list(range(count)))
        return rows if right else None

    def _in_pieces(self, body: Body) -> Payload | None:
        """The same for a large body: in between, others get their turns."""
        try:
            parts, count = self._parts(body)
        except (_Untaken, msgspec.MsgspecError, UnicodeError, RecursionError, BadRequest):
            return None
        return self._payload(parts, count)

    def _parts(self, body: Body) -> tuple[list[Any], int]:
        """The data of a large body, in parts, and the number of its rows.

        A piece ends where a row seems to end. That may be within a text: then the piece is no list of rows. Where each
        is one, and the rest is a body with the mark where its rows are, all of them together are what was sent.
        """
        begin = _ROWS_BEGIN.search(body, 0, _MAX_HEAD_BYTES)
        if begin is None:
            raise _Untaken
        is_records = begin[1] != b"data"
        decode = self._decode_records if is_records else self._decode_rows
        between = _BETWEEN_RECORDS if is_records else _BETWEEN_ROWS
        piece_bytes = self._record_piece_bytes if is_records else PIECE_BYTES
        if decode is None:
            raise _Untaken
        view = memoryview(body)
        at, count, slow = begin.end(), 0, 0
        parts: list[Any] = []
        while cut := between.search(body, at + piece_bytes, at + piece_bytes + _MAX_ROW_BYTES):
            began_s = time.thread_time()
            rows = decode(b"".join((b"[", view[at : cut.start() + 1], b"]")))
            slow += time.thread_time() - began_s > SLOW_S_PER_BYTE * (cut.start() - at)
            if not rows or slow > _MAX_SLOW:
                raise _Untaken
            parts.append(self._data(_tuples(rows) if is_records else rows))
            count += len(rows)
            at = cut.end() - 1
        if not parts or len(body) - at > piece_bytes + _MAX_ROW_BYTES:
            raise _Untaken
        mark = secrets.token_hex()
        last = self._rows(self._decode_rest(b"".join((view[: begin.end()], f'"{mark}",'.encode(), view[at:]))), count)
        if last is None or last[:1] != [mark] or str in set(map(type, last[1:])) or len(last) == 1:
            raise _Untaken
        parts.append(self._data(_tuples(last[1:]) if is_records else last[1:]))
        return parts, count + len(last) - 1

    def _data(self, rows: Sequence[Any]) -> Any:
        """What some of the rows become at once: part of a matrix, or of columns, or themselves."""
        if self._matrix_dtype is not None:
            return np.array(rows, dtype=self._matrix_dtype)
        return self._arrays(rows) if self._plain else rows

    def _arrays(self, rows: Sequence[Any]) -> list[Any]:
        columns = zip(*rows, strict=True)
        return [make(column, spec) for make, column, spec in zip(self._makers, columns, self._specs, strict=True)]

    def _payload(self, parts: list[Any], rows: int) -> Payload | None:
        if self._matrix_dtype is not None:
            return Payload.matrix(joined(parts), self._name_tuple)
        if self._plain:
            return Payload.columns([joined(column) for column in zip(*parts, strict=True)], self._name_tuple, rows=rows)
        try:
            arrays = self._arrays(list(chain.from_iterable(parts)))
        except BadRequest:
            # The general route may have seen another fault before this one.
            return None
        return Payload.columns(arrays, self._name_tuple, rows=rows)


def _body_of(row: Any, record: Any) -> Any:
    """The type of a body of such rows, or of such records where there is a type of them."""
    split = msgspec.defstruct(
        "Split",
        [("data", list[row]), ("columns", list[str]), ("index", list[int] | None, None)],
        forbid_unknown_fields=True,
    )
    records = msgspec.UnsetType if record is None else list[record] | msgspec.UnsetType
    fields = [
        ("dataframe_split", split | msgspec.UnsetType, msgspec.UNSET),
        ("dataframe_records", records, msgspec.UNSET),
    ]
    return msgspec.defstruct("Body", fields, forbid_unknown_fields=True)


def _tuples(records: Sequence[Any]) -> list[Any]:
    return [msgspec.structs.astuple(record) for record in records]


def typed_decoder(schema: Schema | None, coerce: Coerce) -> TypedDecoder | None:
    """A decoder of bodies for `schema`; None if it is not one of columns that all have texts as names, fit for one."""
    if schema is None or schema.tensors or not all(isinstance(name, str) for name in schema.names):
        return None
    try:
        return TypedDecoder(schema, coerce)
    except ValueError:
        # The parser takes no name that JSON would have to escape, such as one with a quote or a line break.
        return None


def _cell(spec: ColSpec) -> Any:
    """The type of a cell that needs no cast; anything where only a look at the value can tell."""
    kind = spec.type
    if kind is DataType.string:
        return str | None
    if kind is DataType.boolean:
        return bool
    if kind in _EXACT:
        limit = _EXACT[kind]
        return Annotated[float, msgspec.Meta(gt=-limit, lt=limit)] | None
    if kind in _RANGE:
        return Annotated[int, msgspec.Meta(ge=-_RANGE[kind], le=_RANGE[kind] - 1)]
    return Any


def _array_of(dtype: str) -> Callable[[Sequence[Any], ColSpec], Any]:
    kind = np.dtype(dtype)
    return lambda column, _spec: np.array(column, dtype=kind)


def _cast(coerce: Coerce) -> Callable[[Sequence[Any], ColSpec], Any]:
    return lambda column, spec: cast_column(column, spec, spec.name or "", coerce=coerce)


_MAKERS: dict[DataType, Callable[[Sequence[Any], ColSpec], Any]] = {
    DataType.string: lambda column, _spec: object_array(column),
    **{
        kind: _array_of(kind.dtype)
        for kind in (DataType.boolean, DataType.integer, DataType.long, DataType.float, DataType.double)
    },
}
