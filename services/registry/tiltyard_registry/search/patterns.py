"""LIKE patterns as each database spells them, so that one filter means the same on both.

`%` stands for any text, `_` for one character. A backslash takes the `%`, `_` or backslash behind it as
itself; before anything else it is itself.

Case: LIKE is exact on both databases. ILIKE folds A-Z everywhere; PostgreSQL folds other letters as its
collation says, SQLite not at all.
"""

import re

from tiltyard.errors import InvalidParameterValue

# SQLite refuses a pattern of more than 50,000 bytes; one character may take four there.
MAX_PATTERN_CHARS = 10_000

_PIECE = re.compile(r"\\[%_\\]|%|_|[^%_\\]+|\\", re.DOTALL)


def check_pattern(pattern: str) -> str:
    """`pattern` if the databases take it.

    Raises:
        InvalidParameterValue: it is too long.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise InvalidParameterValue(
            f"Invalid LIKE pattern: {len(pattern)} characters, at most {MAX_PATTERN_CHARS} are allowed."
        )
    return pattern


def to_like(pattern: str) -> str:
    r"""The pattern for a LIKE whose escape character is the backslash: `a\b%` becomes `a\\b%`."""
    return "".join("\\\\" if piece == "\\" else piece for piece in _PIECE.findall(pattern))


def to_glob(pattern: str) -> str:
    """The pattern for SQLite's GLOB, which, unlike its LIKE, tells upper from lower case."""
    wildcards = {"%": "*", "_": "?"}
    return "".join(
        wildcards.get(piece) or re.sub(r"[*?\[]", r"[\g<0>]", _literal(piece)) for piece in _PIECE.findall(pattern)
    )


def _literal(piece: str) -> str:
    return piece[1] if len(piece) == 2 and piece[0] == "\\" and piece[1] in "%_\\" else piece
