"""What columnar data stands for: the bytes it becomes as a DataFrame, told from its layout before any of it is built.

In Arrow a row may cost no byte at all (nulls, lists of a fixed size, structs without fields), and one value may be
shown by any number of rows (dictionaries, views, runs). Lengths come from whoever sent them, so nothing here follows
an offset or an index that was not validated; what cannot be told cheaply is estimated from above.
"""

from typing import Any

import numpy as np

# The objects that pandas makes of one cell: of its plain value, of a text or a list beside what is in it, of a struct.
_CELL_BYTES = 8
_TEXT_BYTES = 16
_OBJECT_BYTES = 64
_LIST_BYTES = 128
_STRUCT_BYTES = 128


def footprint(array: Any) -> int:
    """The bytes that an array stands for. Raises: ArrowException for a dictionary's index that is damaged."""
    return _of(array)[0]


def _of(array: Any) -> tuple[int, int]:  # noqa: PLR0911 - one per layout
    """What all of `array` stands for, and at most one of its values; both in bytes."""
    import pyarrow as pa

    kind, rows = array.type, len(array)
    types = pa.types
    if isinstance(array, pa.ExtensionArray):
        return _of(array.storage)
    if types.is_null(kind):
        return rows * _CELL_BYTES, _CELL_BYTES
    if types.is_string_view(kind) or types.is_binary_view(kind):
        lengths = _ints(array.buffers()[1], np.int32)[::4]
        return _texts(rows, lengths)
    if types.is_binary(kind) or types.is_string(kind) or types.is_large_binary(kind) or types.is_large_string(kind):
        buffers = array.buffers()
        size_bytes = buffers[2].size if buffers[2] is not None else 0
        return rows * _TEXT_BYTES + size_bytes, _TEXT_BYTES + size_bytes
    if types.is_dictionary(kind):
        return _dictionary(array)
    if types.is_run_end_encoded(kind):
        whole, widest = _of(array.values)
        return whole + rows * widest, widest
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        whole, widest = _of(array.values)
        sizes = _ints(array.buffers()[2], np.int32 if types.is_list_view(kind) else np.int64)
        shown, longest = int(np.abs(sizes, dtype=np.float64).sum()), int(np.abs(sizes, dtype=np.float64).max(initial=0))
        return whole + rows * _LIST_BYTES + shown * widest, _LIST_BYTES + longest * widest
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_map(kind):
        # Offsets never go back: every value below is shown once at most.
        whole, _ = _of(array.values)
        return whole + rows * _LIST_BYTES, whole + _LIST_BYTES
    if types.is_struct(kind):
        return _side_by_side([array.field(number) for number in range(kind.num_fields)], rows, _STRUCT_BYTES)
    if types.is_union(kind):
        fields = [array.field(number) for number in range(kind.num_fields)]
        whole, widest = _side_by_side(fields, rows, _OBJECT_BYTES)
        return whole + (rows * widest if kind.mode == "dense" else 0), widest
    return _plain(kind, rows)


def _plain(kind: Any, rows: int) -> tuple[int, int]:
    import pyarrow as pa

    try:
        width = max(_CELL_BYTES, (kind.bit_width + 7) // 8)
    except ValueError:
        width = _OBJECT_BYTES
    types = pa.types
    if not any(is_plain(kind) for is_plain in (types.is_floating, types.is_integer, types.is_boolean)) and not (
        types.is_timestamp(kind) or types.is_duration(kind)
    ):
        # Dates, times, decimals and bytes of a fixed size are objects.
        width += _OBJECT_BYTES
    return rows * width, width


def _texts(rows: int, lengths: "np.ndarray[Any, Any]") -> tuple[int, int]:
    positive = np.abs(lengths, dtype=np.float64)
    return rows * _TEXT_BYTES + int(positive.sum()), _TEXT_BYTES + int(positive.max(initial=0))


def _side_by_side(fields: list[Any], rows: int, each_bytes: int) -> tuple[int, int]:
    parts = [_of(field) for field in fields]
    return rows * each_bytes + sum(whole for whole, _ in parts), each_bytes + sum(widest for _, widest in parts)


def _dictionary(array: Any) -> tuple[int, int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    values, rows = array.dictionary, len(array)
    whole, widest = _of(values)
    if rows * widest <= whole or not rows:
        return whole + rows * widest, widest
    kind = values.type
    if not (pa.types.is_binary(kind) or pa.types.is_string(kind)) and not (
        pa.types.is_large_binary(kind) or pa.types.is_large_string(kind)
    ):
        return whole + rows * widest, widest
    # Texts differ in length: the longest alone would refuse what is harmless.
    array.validate(full=True)
    lengths = pc.binary_length(values)
    shown = pc.sum(pc.take(lengths, array.indices)).as_py() or 0
    longest = pc.max(lengths).as_py() or 0
    return whole + rows * _TEXT_BYTES + int(shown), _TEXT_BYTES + int(longest)


def _ints(buffer: Any, dtype: Any) -> "np.ndarray[Any, Any]":
    """The whole numbers in a buffer, however many there really are."""
    if buffer is None:
        return np.empty(0, dtype)
    width = np.dtype(dtype).itemsize
    return np.frombuffer(buffer, dtype=dtype, count=buffer.size // width)
