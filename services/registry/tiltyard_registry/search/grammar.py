"""First pass: the text of a filter becomes a small tree. Nothing here knows which keys exist.

    expression  = conjunction { OR conjunction }
    conjunction = factor { AND factor } [ AND ]            a last AND with nothing behind it is let pass
    factor      = NOT factor | "(" expression ")" | comparison
    comparison  = identifier ( operator value | [NOT] IN "(" text { "," text } [ "," ] ")" | IS [NOT] NULL )
    identifier  = [ entity "." ] key                       key: words with dots, `in backticks` or "in double quotes"
    operator    = "=" | "!=" | "<" | "<=" | ">" | ">=" | LIKE | ILIKE
    value       = 'text' | "text" | number

Words are case-insensitive. A quote inside text of the same quote is doubled. Upstream's grammar is the part
without OR, NOT and parentheses.

Source: mlflow/utils/search_utils.py, `SearchUtils.parse_search_filter`.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search.tree import And, Not, Or, Tree

FUNCTIONS = ("MIN", "MAX", "LATEST")
"""What may stand around a metric: which point of its history is meant."""

MAX_FILTER_CHARS = 200_000
MAX_COMPARISONS = 250
MAX_LIST_VALUES = 5_000
MAX_DEPTH = 50

COMPARATORS = ("=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE")


class Identifier(NamedTuple):
    """What stands left of the operator. `entity` is None for a bare key."""

    entity: str | None
    key: str
    function: str | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A bare number, still as written. Not a tuple, for a list of values is one."""

    text: str


Value: TypeAlias = str | Number | tuple[str, ...] | None


class Comparison(NamedTuple):
    """One clause, not yet checked. `value` is None for IS NULL and IS NOT NULL."""

    left: Identifier
    operator: str
    value: Value


def parse(text: str) -> Tree[Comparison]:
    """The tree that `text` spells.

    Raises:
        InvalidParameterValue: it is not a filter; the message names the place and what was expected there.
    """
    if len(text) > MAX_FILTER_CHARS:
        raise InvalidParameterValue(f"Invalid filter: {len(text)} characters, at most {MAX_FILTER_CHARS} are allowed.")
    if not text.strip():
        raise InvalidParameterValue(f"Invalid filter '{text[:20]}'. Could not be parsed.")
    return _Parser(text).filter()


def parse_order(text: str) -> tuple[Identifier, bool]:
    """The identifier of one `order_by` item, and whether it ascends.

    Raises:
        InvalidParameterValue: it is not an identifier, alone or followed by ASC or DESC.
    """
    if len(text) > MAX_FILTER_CHARS or not text.strip():
        raise InvalidParameterValue(f"Invalid order_by clause '{text[:80]}'. Could not be parsed.")
    return _Parser(text, what="order_by clause").order()


_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def is_text(text: str) -> bool:
    """Whether both databases take it as text: no NUL, no half of a surrogate pair."""
    return not _NO_TEXT.search(text)


class _Token(NamedTuple):
    kind: str  # text, name, number, word, operator, mark, end
    value: str  # without its quotes
    source: str  # as written
    position: int


_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>'(?:[^']|'')*' | "(?:[^"]|"")*")
      | (?P<name>`(?:[^`]|``)*`)
      | (?P<number>(?<![\w.`"'])[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
      | (?P<word>\w+)
      | (?P<operator>[<>=!~]+)
      | (?P<mark>[().,])""",
    re.VERBOSE,
)

_SPECIAL_KEY = "a key with spaces, '/' or '-' goes in backticks or double quotes, as in tags.`my tag`"


def _tokens(text: str, what: str) -> list[_Token]:
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            char = text[position]
            expected = "the quote to be closed" if char in "'\"`" else f"a comparison ({_SPECIAL_KEY})"
            raise _refused(what, char, position, expected)
        kind, source = str(match.lastgroup), match.group()
        if kind in {"text", "name"}:
            quote = source[0]
            tokens.append(_Token(kind, source[1:-1].replace(quote * 2, quote), source, position))
        elif kind != "space":
            tokens.append(_Token(kind, source, source, position))
        position = match.end()
    tokens.append(_Token("end", "", "", len(text)))
    return tokens


def _refused(what: str, found: str, position: int, expected: str) -> InvalidParameterValue:
    place = f"'{found[:80]}' at character {position + 1}" if found else "unexpected end"
    return InvalidParameterValue(f"Invalid clause(s) in {what}: {place}, expected {expected}.")


class _Parser:
    def __init__(self, text: str, *, what: str = "filter string") -> None:
        if not is_text(text):
            raise InvalidParameterValue(f"Invalid {what}: it holds a character that is not text.")
        self._what = what
        self._tokens = _tokens(text, what)
        self._next = 0
        self._comparisons = 0
        self._list_values = 0

    def filter(self) -> Tree[Comparison]:
        tree = self._expression(depth=0)
        if self._peek.kind != "end":
            raise self._refused("AND, OR or the end")
        return tree

    def order(self) -> tuple[Identifier, bool]:
        identifier = self._identifier()
        ascending = True
        if self._peek.kind == "word":
            direction = self._peek.value.lower()
            if direction not in {"asc", "desc"}:
                raise self._refused("ASC or DESC")
            ascending = direction == "asc"
            self._advance()
        if self._peek.kind != "end":
            raise self._refused("the end (one field per item)")
        return identifier, ascending

    # --- the rules of the grammar ---------------------------------------------------------------------

    def _expression(self, depth: int) -> Tree[Comparison]:
        terms = [self._conjunction(depth)]
        while self._take_word("OR"):
            terms.append(self._conjunction(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _conjunction(self, depth: int) -> Tree[Comparison]:
        terms = [self._factor(depth)]
        while self._take_word("AND"):
            if self._peek.kind == "end":
                break
            terms.append(self._factor(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _factor(self, depth: int) -> Tree[Comparison]:
        if depth > MAX_DEPTH:
            raise self._refused(f"at most {MAX_DEPTH} levels of parentheses and NOT")
        if self._take_word("NOT"):
            return Not(self._factor(depth + 1))
        if self._take_mark("("):
            inner = self._expression(depth + 1)
            if not self._take_mark(")"):
                raise self._refused("AND, OR or ')'")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise self._refused(f"at most {MAX_COMPARISONS} comparisons")
        left = self._identifier()
        token = self._peek
        operator = token.value.upper()
        if token.kind in {"operator", "word"} and operator in COMPARATORS:
            self._advance()
            return Comparison(left, operator, self._value())
        if self._take_word("IS"):
            negated = self._take_word("NOT")
            if not self._take_word("NULL"):
                raise self._refused("NULL")
            return Comparison(left, "IS NOT NULL" if negated else "IS NULL", None)
        negated = self._take_word("NOT")
        if self._take_word("IN"):
            return Comparison(left, "NOT IN" if negated else "IN", self._list())
        expected = "IN" if negated else f"one of {', '.join(COMPARATORS)}, IN, NOT IN, IS NULL, IS NOT NULL"
        raise self._refused(expected)

    def _identifier(self) -> Identifier:
        first = self._peek
        reserved = first.kind == "word" and first.value.upper() in {"AND", "OR"}
        if reserved or (first.kind not in {"word", "name"} and not first.source.startswith('"')):
            raise self._refused("an identifier such as name, tags.key or metrics.`key`")
        self._advance()
        if first.kind == "word" and first.value.upper() in FUNCTIONS and self._take_mark("("):
            inner = self._identifier()
            if inner.function or not self._take_mark(")"):
                raise self._refused(f"')': {first.value.upper()}(metrics.`key`)")
            return inner._replace(function=first.value.upper())
        if not self._take_mark("."):
            return Identifier(None, first.value)
        key = self._peek
        if key.kind not in {"word", "name"} and not key.source.startswith('"'):
            raise self._refused("a key")
        self._advance()
        # Source: upstream's own client writes `tags.mlflow.loggedArtifacts` without quotes.
        words = [key.value]
        while key.kind == "word" and self._take_mark("."):
            if self._peek.kind != "word":
                raise self._refused(f"the rest of a key ({_SPECIAL_KEY})")
            words.append(self._advance().value)
        return Identifier(first.value, ".".join(words))

    def _value(self) -> Value:
        token = self._peek
        if token.kind == "text":
            self._advance()
            return token.value
        if token.kind == "number":
            self._advance()
            return Number(token.value)
        raise self._refused("a quoted string or a number")

    def _list(self) -> tuple[str, ...]:
        if not self._take_mark("("):
            raise self._refused("'(' and a list of quoted strings")
        values: list[str] = []
        while True:
            if self._peek.kind != "text":
                raise self._refused("a quoted string: the list holds at least one, and nothing else")
            values.append(self._advance().value)
            self._list_values += 1
            if self._list_values > MAX_LIST_VALUES:
                raise self._refused(f"at most {MAX_LIST_VALUES} values in lists")
            # A comma may stand before the end, as in Python's text of a tuple of one.
            comma = self._take_mark(",")
            if self._take_mark(")"):
                break
            if not comma:
                raise self._refused("',' or ')'")
        return tuple(values)

    # --- the tokens ------------------------------------------------------------------------------------

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _advance(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _take_word(self, word: str) -> bool:
        taken = self._peek.kind == "word" and self._peek.value.upper() == word
        self._next += taken
        return taken

    def _take_mark(self, mark: str) -> bool:
        taken = self._peek.kind == "mark" and self._peek.value == mark
        self._next += taken
        return taken

    def _refused(self, expected: str) -> InvalidParameterValue:
        return _refused(self._what, self._peek.source, self._peek.position, expected)
