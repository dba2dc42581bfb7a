"""How many values a JSON body holds, told before any of it is built; and whether it is looked at in the event loop."""

from tiltyard.errors import PayloadTooLarge

# A body of this size is decoded in a few milliseconds, whatever it holds; larger ones are decoded in a thread.
AT_ONCE_BYTES = 64 * 1024
DEFAULT_MAX_VALUES = 200_000

# Piece by piece, so that other threads get their turn in between.
PIECE_BYTES = 256 * 1024
_SEPARATORS = b",[{"


def check_values(body: bytes, max_values: int) -> None:
    """Nothing, if a JSON text holds no more values than allowed.

    Raises:
        PayloadTooLarge: it does; the message names the limit.
    """
    if len(body) <= max_values:
        return
    values = 0
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        values += sum(piece.count(separator) for separator in _SEPARATORS)
        if values > max_values:
            raise PayloadTooLarge(
                f"The request body holds at least {values} values, over the limit 'max_values' of {max_values}."
            )
