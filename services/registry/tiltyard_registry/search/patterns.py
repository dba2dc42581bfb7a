"""LIKE patterns as each database spells them, so that one filter means the same on both.

`%` stands for any text, `_` for one character. A backslash takes the `%`, `_` or backslash behind it as
itself; before anything else it is itself.

Case: LIKE is exact on both databases. ILIKE folds A-Z everywhere; PostgreSQL folds other letters as its
collation says, SQLite not at all.
"""

import re
from typing import Any

from sqlalchemy import ColumnElement

from tiltyard.errors import InvalidParameterValue

# SQLite refuses a pattern of more than 50,000 bytes; one character may take four there.
MAX_PATTERN_CHARS = 10_000
PART_CHARS = 3
"""How long the parts of texts are by which an index knows them."""

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


def is_like(column: ColumnElement[Any], pattern: str, *, exact: bool, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether a text is like the pattern, with its case if that is to be exact."""
    if is_sqlite and exact:
        return column.bool_op("GLOB")(to_glob(pattern))
    if is_sqlite:
        return column.ilike(to_like(pattern), escape="\\")
    # PostgreSQL's escape character is the backslash unless told otherwise.
    return column.like(to_like(pattern)) if exact else column.ilike(to_like(pattern))


def to_like(pattern: str) -> str:
    r"""The pattern for a LIKE whose escape character is the backslash: `a\b%` becomes `a\\b%`."""
    return "".join("\\\\" if piece == "\\" else piece for piece in _PIECE.findall(pattern))


def to_glob(pattern: str) -> str:
    """The pattern for SQLite's GLOB, which, unlike its LIKE, tells upper from lower case."""
    wildcards = {"%": "*", "_": "?"}
    return "".join(
        wildcards.get(piece) or re.sub(r"[*?\[]", r"[\g<0>]", _literal(piece)) for piece in _PIECE.findall(pattern)
    )


def parts(pattern: str) -> list[str]:
    """Texts of `PART_CHARS` characters or more that everything holds that is like the pattern, whatever the case.

    They are of letters that are ASCII or have no case: others fold in more than one way.
    """
    known = "".join("\0" if piece in ("%", "_") else _literal(piece) for piece in _PIECE.findall(pattern))
    plain = "".join(char if char.isascii() or char.lower() == char.upper() else "\0" for char in known)
    return [part for part in plain.split("\0") if len(part) >= PART_CHARS]


def _literal(piece: str) -> str:
    return piece[1] if len(piece) == 2 and piece[0] == "\\" and piece[1] in "%_\\" else piece
