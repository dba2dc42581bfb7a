"""The filter language: what each text means, and what each bad text is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search.grammar import (
    MAX_COMPARISONS,
    MAX_DEPTH,
    MAX_FILTER_CHARS,
    MAX_LIST_VALUES,
    Comparison,
    Identifier,
    Number,
    parse,
    parse_order,
)
from tiltyard_registry.search.tree import And, Not, Or


def clause(name: str, operator: str, value: object) -> Comparison:
    """A comparison; `name` is `entity.key` or a bare key."""
    entity, dot, key = name.partition(".")
    return Comparison(Identifier(entity, key) if dot else Identifier(None, name), operator, value)


A = clause("a", "=", "1")
B = clause("b", "=", "2")
C = clause("c", "=", "3")

GOOD = {
    # identifiers
    "name = 'x'": clause("name", "=", "x"),
    "tags.key = 'x'": clause("tags.key", "=", "x"),
    "tags.`my key` = 'x'": clause("tags.my key", "=", "x"),
    "tags.\"my/key.1\" = 'x'": clause("tags.my/key.1", "=", "x"),
    "tags.`a``b` = 'x'": clause("tags.a`b", "=", "x"),
    "`tags`.x = 'x'": clause("tags.x", "=", "x"),
    "`run name` = 'x'": clause("run name", "=", "x"),
    "params.1st = 'x'": clause("params.1st", "=", "x"),
    "metrics.5 > 1": clause("metrics.5", ">", Number("1")),
    "params.é = 'x'": clause("params.é", "=", "x"),
    "tags.mlflow.user = 'x'": clause("tags.mlflow.user", "=", "x"),
    "tags.and = 'x'": clause("tags.and", "=", "x"),
    "tags . k = 'x'": clause("tags.k", "=", "x"),
    # values
    'a = "x\'y"': clause("a", "=", "x'y"),
    "a = 'x\"y'": clause("a", "=", 'x"y'),
    "a = 'it''s'": clause("a", "=", "it's"),
    'a = "say ""hi"""': clause("a", "=", 'say "hi"'),
    "a = ''": clause("a", "=", ""),
    "a = 'back\\'": clause("a", "=", "back\\"),
    "a = 'x AND (y'": clause("a", "=", "x AND (y"),
    "m.a > 1": clause("m.a", ">", Number("1")),
    "m.a>=-1.5e-3": clause("m.a", ">=", Number("-1.5e-3")),
    "m.a < +.5": clause("m.a", "<", Number("+.5")),
    "m.a <= 5.": clause("m.a", "<=", Number("5.")),
    "m.a != 1E5": clause("m.a", "!=", Number("1E5")),
    # operators
    "a LIKE 'x%'": clause("a", "LIKE", "x%"),
    "a ilike 'x%'": clause("a", "ILIKE", "x%"),
    "a In ('x', \"y\")": clause("a", "IN", ("x", "y")),
    "a IN ('x',)": clause("a", "IN", ("x",)),
    "a not\n in('x')": clause("a", "NOT IN", ("x",)),
    "a IS NULL": clause("a", "IS NULL", None),
    "a is  not null": clause("a", "IS NOT NULL", None),
    # combinations: NOT binds closest, then AND, then OR
    "a='1' AND b='2' and c='3'": And((A, B, C)),
    "a='1' AND b='2' AND": And((A, B)),
    "a='1' and ": A,
    "a='1' OR b='2' AND c='3'": Or((A, And((B, C)))),
    "(a='1' OR b='2') AND c='3'": And((Or((A, B)), C)),
    "NOT a='1' AND b='2'": And((Not(A), B)),
    "not (a='1' and b='2')": Not(And((A, B))),
    "NOT NOT a='1'": Not(Not(A)),
    "((a='1'))": A,
    "\t a='1'\n": A,
}


@pytest.mark.parametrize("text", GOOD)
def test_a_filter_means_one_tree(text: str) -> None:
    """Each text of the table is read as the tree beside it."""
    assert parse(text) == GOOD[text]


BAD = {
    # upstream's own refusals, in its words
    "   ": "Invalid filter '   '. Could not be parsed.",
    "a = '1';": "Invalid clause(s) in filter string: ';' at character 8",
    "a BETWEEN '1' AND '2'": "Invalid clause(s) in filter string: 'BETWEEN' at character 3",
    # the place and what was expected there
    "a": "unexpected end, expected one of =, !=",
    "a =": "unexpected end, expected a quoted string or a number",
    "= 'x'": "'=' at character 1, expected an identifier",
    "'a' = 'x'": "''a'' at character 1, expected an identifier",
    "5 < m.a": "'5' at character 1, expected an identifier",
    "a = x": "'x' at character 5, expected a quoted string or a number",
    "a = TRUE": "'TRUE' at character 5",
    "a == 'x'": "'==' at character 3, expected one of =, !=",
    "a <> 'x'": "'<>' at character 3",
    "a = 'x": "''' at character 5, expected the quote to be closed",
    "a = `x`": "'`x`' at character 5, expected a quoted string or a number",
    "tags.my-key = 'x'": "'-' at character 8, expected a comparison (a key with spaces, '/' or '-' goes in",
    "tags.a/b = 'x'": "'/' at character 7",
    "tags.`a`.b = 'x'": "'.' at character 9",
    "tags. = 'x'": "'=' at character 7, expected a key",
    "tags.'k' = 'x'": "expected a key",
    ".k = 'x'": "'.' at character 1",
    "a = '1' b = '2'": "'b' at character 9, expected AND, OR or the end",
    "AND a = '1'": "'AND' at character 1, expected an identifier",
    "a = '1' AND AND b = '2'": "'AND' at character 13, expected an identifier",
    "a = '1' OR": "unexpected end, expected an identifier",
    "NOT": "unexpected end, expected an identifier",
    "()": "')' at character 2, expected an identifier",
    "(a = '1'": "unexpected end, expected AND, OR or ')'",
    "a = '1')": "')' at character 8, expected AND, OR or the end",
    "a IN ()": "')' at character 7, expected a quoted string",
    "a IN ('x' 'y')": "''y'' at character 11, expected ',' or ')'",
    "a IN ('x',,)": "',' at character 11, expected a quoted string",
    "a IN (1)": "'1' at character 7, expected a quoted string",
    "a IN 'x'": "''x'' at character 6, expected '('",
    "a IN ('x'": "unexpected end, expected ',' or ')'",
    "a NOT 'x'": "''x'' at character 7, expected IN",
    "a NOT LIKE 'x'": "'LIKE' at character 7, expected IN",
    "a IS 'x'": "''x'' at character 6, expected NULL",
    "a = 1.5.2": "expected a quoted string or a number",
    "a = 1e": "'1e' at character 5",
    "a = 0x1F": "'0x1F' at character 5",
    "a = ١": "'١' at character 5",
    "a = '1' -- b": "'-' at character 9",
    "a = '\x00'": "it holds a character that is not text",
    "a = '\ud800'": "it holds a character that is not text",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_filter_is_told_where_and_what_was_expected(text: str) -> None:
    """Each text of the table is refused with the message beside it."""
    with pytest.raises(InvalidParameterValue) as refused:
        parse(text)
    assert BAD[text] in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "a = '" + "x" * MAX_FILTER_CHARS + "'",
        " AND ".join(["a = '1'"] * (MAX_COMPARISONS + 1)),
        "a IN (" + "'x'," * (MAX_LIST_VALUES + 1) + ")",
        "(" * (MAX_DEPTH + 2) + "a = '1'" + ")" * (MAX_DEPTH + 2),
        "NOT " * 100_000 + "a = '1'",
        "(" * 199_999,
    ],
    ids=["long", "many", "list", "deep", "not", "open"],
)
def test_a_filter_has_bounds(text: str) -> None:
    """Length, comparisons, list values and depth are bounded, and the message stays short."""
    with pytest.raises(InvalidParameterValue) as refused:
        parse(text)
    assert "at most" in refused.value.message
    assert len(refused.value.message) < 300


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60))
def test_a_quoted_value_comes_back_as_it_was(text: str) -> None:
    """Any text, its quotes doubled, is one value in either kind of quotes, and one key in backticks."""
    for quote in "'\"":
        value = quote + text.replace(quote, quote * 2) + quote
        assert parse(f"tags.k={value}") == clause("tags.k", "=", text)
        assert parse(f"tags.k IN ({value},{value})") == clause("tags.k", "IN", (text, text))
    key = "`" + text.replace("`", "``") + "`"
    assert parse(f"tags.{key} = 'v'") == Comparison(Identifier("tags", text), "=", "v")


@pytest.mark.parametrize(
    ("text", "identifier", "ascending"),
    [
        ("name", Identifier(None, "name"), True),
        ("  name   ASC ", Identifier(None, "name"), True),
        ("metrics.`a b` desc", Identifier("metrics", "a b"), False),
        ('metrics."a b"', Identifier("metrics", "a b"), True),
        ("tags.mlflow.user Desc", Identifier("tags", "mlflow.user"), False),
        ("desc", Identifier(None, "desc"), True),
    ],
)
def test_an_order_item_is_an_identifier_and_a_direction(text: str, identifier: Identifier, ascending: bool) -> None:
    """An item of `order_by` names one field; without a direction it ascends."""
    assert parse_order(text) == (identifier, ascending)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "name, other",
        "name DESC NULLS LAST",
        "name DOWN",
        "name = 'x'",
        "DESC name",
        "'name'",
        "(name)",
        "name;",
    ],
)
def test_a_bad_order_item_is_refused(text: str) -> None:
    """Anything but an identifier and a direction is refused, and the message says it was the order."""
    with pytest.raises(InvalidParameterValue, match="order_by clause"):
        parse_order(text)
