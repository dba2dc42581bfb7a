"""How much one scoring request may stand for. Each bound is checked before what it bounds is built."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tiltyard.errors import BadRequest, PayloadTooLarge
from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.payload.chunks import flat, types_of

MIB = 1024 * 1024

# A columnar body may stand for a table of this size however small it is, and for more in proportion to its own size:
# dictionaries, runs and nulls make a table larger than its file, a decompression bomb makes it a million times larger.
FREE_TABLE_BYTES = 32 * MIB
MAX_EXPANSION = 512

# Values of a JSON or CSV text are told from what separates them.
JSON_SEPARATORS = b",[{"
CSV_SEPARATORS = b",\n"
_PIECE_BYTES = MIB
# In a smaller body there is no room for texts that are too much as an array, in which each is as long as the longest.
_ROOM_FOR_TEXTS_BYTES = 7000
_CHARACTER_BYTES = 4
_FEW_TEXTS = 64
_NUMBER_CHARACTERS: dict[type, int] = {float: 32, int: 21, bool: 5}
# A number and what separates it from the next one.
_CELL_TEXT_BYTES = 2


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may stand for, whatever the size of its body.

    Attributes:
        rows: rows that the model would see.
        columns: columns of a table, inputs of a request.
        values: values of a JSON or CSV text, each list and object being one.
        table_bytes: the table that a Parquet file or an Arrow stream becomes in memory, and tensors of texts.
        answer_bytes: the answer.
        nesting: lists and objects within one another in a JSON text; the parser itself goes a few hundred deep.
    """

    rows: int = 4_000_000
    columns: int = 100_000
    values: int = 5_000_000
    table_bytes: int = 256 * MIB
    answer_bytes: int = 128 * MIB
    nesting: int = 100

    def table_bytes_for(self, body_bytes: int) -> int:
        """How large the table of a columnar body of that size may become."""
        return min(self.table_bytes, max(FREE_TABLE_BYTES, MAX_EXPANSION * body_bytes))

    def check_predictions(self, predictions: Any) -> None:
        """Nothing, if an array or a table of predictions can be written as an answer. Raises: PayloadTooLarge."""
        size = getattr(predictions, "size", 0)
        if type(size) is int and size * _CELL_TEXT_BYTES > self.answer_bytes:
            self.check_answer(size * _CELL_TEXT_BYTES)

    def check_answer(self, size_bytes: int) -> None:
        """Raises: PayloadTooLarge."""
        if size_bytes > self.answer_bytes:
            raise PayloadTooLarge(
                f"The answer would have at least {size_bytes} bytes, over the limit 'max_answer_bytes' of "
                f"{self.answer_bytes}. Ask for fewer rows at a time."
            )

    def check_rows(self, rows: int) -> None:
        """Raises: PayloadTooLarge."""
        if rows > self.rows:
            raise PayloadTooLarge(f"The request has {rows} rows, over the limit 'max_rows' of {self.rows}.")

    def check_columns(self, columns: int) -> None:
        """Raises: PayloadTooLarge."""
        if columns > self.columns:
            raise PayloadTooLarge(f"The request has {columns} columns, over the limit 'max_columns' of {self.columns}.")

    def check_text(self, body: Body, separators: bytes) -> None:
        """Nothing, if a text holds no more values than allowed. Raises: PayloadTooLarge."""
        if len(body) <= self.values:
            return
        values = 0
        for found in values_in(body, separators):
            values += found
            if values > self.values:
                raise PayloadTooLarge(
                    f"The request body holds at least {values} values, over the limit 'max_values' of {self.values}."
                )

    def too_deep(self) -> BadRequest:
        """What to say of a text that is nested deeper than allowed, or than the parser goes."""
        return BadRequest(
            f"Invalid input. The input is nested too deeply, over the limit 'max_nesting' of {self.nesting} levels."
        )

    def check_arrays(self, value: Any, body_bytes: int) -> None:
        """Nothing, if the arrays of a JSON value, or of its fields, are no more than a table may be.

        Raises:
            PayloadTooLarge: an array of texts, each as long as the longest, would be.
        """
        if body_bytes <= _ROOM_FOR_TEXTS_BYTES:
            return
        # Were each of so few texts as long as the whole body, they would be no more than a table may be.
        few = _FEW_TEXTS if body_bytes * _FEW_TEXTS * _CHARACTER_BYTES <= self.table_bytes else 0
        for array in _arrays(value):
            if type(array) is list and len(array) <= few and list not in map(type, array):
                continue
            values = array if type(array) is list else [array]
            kinds = types_of(values)
            while kinds == {list}:
                values = flat(values)
                kinds = types_of(values)
            if str in kinds:
                longest = max(len(text) for text in values if type(text) is str)
                # Numbers beside a text become texts of the length that any of them may have.
                longest = max(longest, *(_NUMBER_CHARACTERS.get(kind, 0) for kind in kinds))
                self.check_table(len(values) * longest * _CHARACTER_BYTES, body_bytes)

    def check_table(self, size_bytes: int, body_bytes: int) -> None:
        """Raises: PayloadTooLarge."""
        if size_bytes <= self.table_bytes_for(body_bytes):
            return
        if size_bytes > self.table_bytes:
            raise PayloadTooLarge(
                f"The request body stands for a table of at least {size_bytes} bytes, over the limit "
                f"'max_table_bytes' of {self.table_bytes}."
            )
        raise PayloadTooLarge(
            f"The request body of {body_bytes} bytes stands for a table of at least {size_bytes} bytes, over the limit "
            f"of {MAX_EXPANSION} times its size. Send the rows in several requests."
        )


DEFAULT = Bounds()


def values_in(body: Body, separators: bytes) -> Iterator[int]:
    """How many values each piece of a text has, told from what separates them."""
    import numpy as np

    data = np.frombuffer(body, dtype=np.uint8)
    # Piece by piece: without the interpreter's lock, and no further than it must.
    for start in range(0, len(data), _PIECE_BYTES):
        piece = data[start : start + _PIECE_BYTES]
        yield sum(int(np.count_nonzero(piece == separator)) for separator in separators)


def _arrays(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for row in value:
            if isinstance(row, dict):
                yield from row.values()
    else:
        yield value
