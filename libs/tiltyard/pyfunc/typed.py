"""Bodies whose values are of the types that the signature foretells: one parse, straight into typed columns.

The general route parses JSON into plain values, then casts and checks them one by one. A decoder made for the
signature does all of that while it parses. It takes only what needs no cast and no second look; whatever it
does not take, the general route reads, or refuses with a message that says why.
"""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from tiltyard.errors import BadRequest
from tiltyard.pyfunc.cast import cast_column, object_array
from tiltyard.pyfunc.form import Body, Payload
from tiltyard.pyfunc.refusal import Coerce
from tiltyard.pyfunc.schema import ColSpec, DataType, Schema

# Below, every integer is a float of the width; a number from there on is looked at by the general route.
_EXACT = {DataType.float: 2.0**24, DataType.double: 2.0**53}
_RANGE = {DataType.integer: 2**31, DataType.long: 2**63}


class TypedDecoder:
    """Reads `dataframe_split` and `dataframe_records` bodies whose columns are just those of the signature."""

    def __init__(self, schema: Schema, coerce: Coerce) -> None:
        """`schema` is one that `typed_decoder` takes."""
        self._names = schema.names
        self._name_tuple = schema.name_tuple
        self._specs = schema.columns
        self._matrix_dtype = None if schema.matrix_dtype is None else np.dtype(schema.matrix_dtype)
        self._makers = [_MAKERS.get(spec.type, _cast(coerce)) for spec in schema.columns]  # type: ignore[arg-type]
        cells = [_cell(spec) for spec in schema.columns]
        row: Any = tuple[tuple(cells)]  # type: ignore[misc]
        if self._matrix_dtype is not None:
            width = msgspec.Meta(min_length=len(cells), max_length=len(cells))
            row = Annotated[list[cells[0]], width]  # type: ignore[valid-type]
        fields = [(f"cell_{i}", cell) for i, cell in enumerate(cells)]
        record = msgspec.defstruct(
            "Record",
            fields,
            rename={f"cell_{i}": str(name) for i, name in enumerate(schema.names)},
            forbid_unknown_fields=True,
            gc=False,
        )
        split = msgspec.defstruct(
            "Split",
            [("data", list[row]), ("columns", list[str]), ("index", list[int] | None, None)],
            forbid_unknown_fields=True,
        )
        body = msgspec.defstruct(
            "Body",
            [
                ("dataframe_split", split | msgspec.UnsetType, msgspec.UNSET),
                ("dataframe_records", list[record] | msgspec.UnsetType, msgspec.UNSET),  # type: ignore[valid-type]
            ],
            forbid_unknown_fields=True,
        )
        self._decode = msgspec.json.Decoder(body).decode

    def __call__(self, body: Body) -> Payload | None:
        """The payload, or None when the general route has to look at the body."""
        try:
            fields: Any = self._decode(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        parsed_at_s = time.perf_counter()
        split, records = fields.dataframe_split, fields.dataframe_records
        if (split is msgspec.UNSET) == (records is msgspec.UNSET):
            return None
        if split is msgspec.UNSET:
            rows: Sequence[Any] = [msgspec.structs.astuple(record) for record in records]
        elif split.columns == self._names and (split.index is None or split.index == list(range(len(split.data)))):
            rows = split.data
        else:
            return None
        payload = self._payload(rows) if rows else None
        if payload is not None:
            payload.parsed_at_s = parsed_at_s
        return payload

    def _payload(self, rows: Sequence[Any]) -> Payload | None:
        if self._matrix_dtype is not None:
            return Payload.matrix(np.array(rows, dtype=self._matrix_dtype), self._name_tuple)
        columns = zip(*rows, strict=True)
        try:
            arrays = [make(column, spec) for make, column, spec in zip(self._makers, columns, self._specs, strict=True)]
        except BadRequest:
            # The general route may have seen another fault before this one.
            return None
        return Payload.columns(arrays, self._name_tuple, rows=len(rows))


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
