"""What each scope lets be searched and sorted, and what the wrong key, operator or value is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from tests.registry.search import filters as f
from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    SCOPES,
    Dataset,
    OrderBy,
    Scope,
    compile_filter,
    order_terms,
)
from tiltyard_registry.search.check import check
from tiltyard_registry.search.field import Child, Kind
from tiltyard_registry.search.grammar import parse
from tiltyard_registry.search.patterns import MAX_PATTERN_CHARS, to_glob, to_like

DIALECTS: dict[Any, Any] = {"sqlite": sqlite.dialect(), "postgresql": postgresql.asyncpg.dialect()}

SPELLINGS = [
    (RUNS, ["start_time", "created", "attr.Created", "attributes.start_time", "run.`start_time`"], "> 1"),
    (RUNS, ["run_name", "`run name`", 'attribute."Run Name"', "run.`Run name`"], "= 'x'"),
    (RUNS, ["param.k", "params.k", "parameter.`k`", 'parameters."k"'], "= 'x'"),
    (RUNS, ["metric.k", "metrics.k"], "> 1"),
    (RUNS, ["tag.k", "tags.k"], "IS NULL"),
    (RUNS, ["dataset.name", "datasets.name"], "= 'x'"),
    (EXPERIMENTS, ["name", "attribute.name"], "= 'x'"),
    (LOGGED_MODELS, ["creation_time", "attributes.creation_timestamp"], "> 1"),
]


@pytest.mark.parametrize(("scope", "names", "rest"), SPELLINGS)
def test_spellings_collapse_to_one_field(scope: Scope, names: list[str], rest: str) -> None:
    """Every spelling of an entity and of a key is the same field."""
    found = {check(scope, parse(f"{name} {rest}")).field for name in names}
    assert len(found) == 1


REFUSED = [
    # upstream's words
    (RUNS, "foo = 'x'", "Invalid attribute key 'foo' specified. Valid keys are '{'Created', 'Run Name', "),
    (EXPERIMENTS, "foo = 'x'", "Invalid attribute key 'foo' specified. Valid keys are '{'creation_time', "),
    (REGISTERED_MODELS, "foo = 'x'", "Invalid attribute key 'foo' specified. Valid keys are '{'name'}'"),
    (RUNS, "dataset.foo = 'x'", "Invalid dataset key 'foo' specified. Valid keys are '{'context', "),
    (RUNS, "foos.k = 'x'", "Invalid entity type 'foos'. Valid values are ['attr', 'attribute', "),
    (RUNS, "Params.k = 'x'", "Invalid entity type 'Params'"),
    (RUNS, "params.k LIKE 1", "Expected a quoted string value for parameter 'k' (e.g. 'my-value'). Got value 1"),
    (RUNS, "tags.k LIKE 1", "Expected a quoted string value for tag 'k' (e.g. 'my-value'). Got value 1"),
    (RUNS, "status = 1", "Expected a quoted string value for attribute 'status'"),
    (RUNS, "metrics.k = 'x'", "Expected numeric value type for metric. Found 'x'"),
    (RUNS, "start_time > '1'", "Expected numeric value type for numeric attribute: start_time. Found '1'"),
    (RUNS, "metrics.k LIKE 'x'", "Invalid comparator 'LIKE' for metric 'k': not one of {'=', '!=', '<', "),
    (RUNS, "params.k > 'x'", "Invalid comparator '>' for parameter 'k'"),
    (RUNS, "metrics.k IN ('1')", "Invalid comparator 'IN' for metric 'k'"),
    (RUNS, "status IS NULL", "Invalid comparator 'IS NULL' for attribute 'status'"),
    (RUNS, "dataset.name IS NULL", "Invalid comparator 'IS NULL' for dataset 'name'"),
    # each scope has its own
    (EXPERIMENTS, "attributes.name = 'x'", "Invalid entity type 'attributes'"),
    (EXPERIMENTS, "params.k = 'x'", "Invalid entity type 'params'"),
    (EXPERIMENTS, "experiment_id = 'abc'", "Invalid experiment ID 'abc'. Experiment ID must be a valid integer."),
    (EXPERIMENTS, "experiment_id IN ('1', 'x')", "Invalid experiment ID 'x'"),
    (EXPERIMENTS, "experiment_id = '٣'", "Invalid experiment ID '٣'"),
    (EXPERIMENTS, "experiment_id = 1", "Expected a quoted string value for attributes. Got value 1"),
    (EXPERIMENTS, "experiment_id LIKE '1'", "Invalid comparator 'LIKE' for attribute 'experiment_id'"),
    (EXPERIMENTS, "creation_time > 1.5", "Invalid value for numeric attribute 'creation_time': '1.5'"),
    (EXPERIMENTS, "creation_time > '1'", "Expected numeric value type for numeric attribute: creation_time"),
    (REGISTERED_MODELS, "timestamp > 1", "Invalid attribute key 'timestamp' specified"),
    (REGISTERED_MODELS, "last_updated_timestamp > 1", "Invalid attribute key 'last_updated_timestamp'"),
    (MODEL_VERSIONS, "version_number > 1.5", "Invalid value for numeric attribute 'version_number': '1.5'"),
    (MODEL_VERSIONS, "version_number > 'x'", "Invalid value for numeric attribute 'version_number': 'x'"),
    (MODEL_VERSIONS, "version_number LIKE '1'", "Invalid comparator 'LIKE'"),
    (MODEL_VERSIONS, "creation_timestamp > 1", "Invalid attribute key 'creation_timestamp' specified"),
    (LOGGED_MODELS, "attribute.name = 'x'", "Invalid entity type 'attribute'"),
    (LOGGED_MODELS, "tag.k = 'x'", "Invalid entity type 'tag'"),
    (LOGGED_MODELS, "creation_time > 'x'", "Expected numeric value type"),
    # a pattern may not outgrow what the database reads
    (RUNS, f"tags.k LIKE '{'%' * (MAX_PATTERN_CHARS + 1)}'", "Invalid LIKE pattern"),
]


@pytest.mark.parametrize(("scope", "text", "message"), REFUSED)
def test_a_wrong_key_operator_or_value_is_named(scope: Scope, text: str, message: str) -> None:
    """Each text of the table is refused with the message beside it, which stays short."""
    with pytest.raises(InvalidParameterValue) as refused:
        compile_filter(scope, text, dialect="sqlite")
    assert message in refused.value.message
    assert len(refused.value.message) < 500


ORDERS_REFUSED: list[tuple[Scope, list[Any], str]] = [
    (RUNS, ["foo"], "Invalid attribute key 'foo' specified. Valid keys are '{"),
    (RUNS, ["dataset.name"], "Invalid order_by entity: dataset."),
    (RUNS, ["start_time", "attr.Created DESC"], "`order_by` contains duplicate fields: 'attr.Created DESC'."),
    (RUNS, ["metrics.k", "metric.`k`"], "`order_by` contains duplicate fields"),
    (EXPERIMENTS, ["tags.k"], "Invalid order_by entity: tag."),
    (REGISTERED_MODELS, ["creation_timestamp"], "Invalid attribute key 'creation_timestamp' specified"),
    (REGISTERED_MODELS, ["timestamp", "last_updated_timestamp"], "`order_by` contains duplicate fields"),
    (MODEL_VERSIONS, ["run_id"], "Invalid attribute key 'run_id' specified"),
    (LOGGED_MODELS, [OrderBy("params.k")], "Invalid order by field name: params.k."),
    (LOGGED_MODELS, [OrderBy("foo")], "Invalid attribute key 'foo' specified"),
    (LOGGED_MODELS, [OrderBy("metrics.k", dataset_digest="d")], "`dataset_digest` can only be specified if"),
    (RUNS, [f"metrics.k{n}" for n in range(21)], "Invalid order_by: 21 items, at most 20 are allowed."),
]


@pytest.mark.parametrize(("scope", "order_by", "message"), ORDERS_REFUSED)
def test_a_wrong_order_is_named(scope: Scope, order_by: list[Any], message: str) -> None:
    """Fields that cannot be ordered by, and fields named twice, are refused."""
    with pytest.raises(InvalidParameterValue) as refused:
        order_terms(scope, order_by, dialect="sqlite")
    assert message in refused.value.message


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)
def test_the_rows_of_fields_hold_together(scope: Scope) -> None:
    """In each scope every entity has a field, no spelling has two, and the default order names real fields."""
    assert set(scope.entities.values()) == {field.entity for field in scope.fields}
    spellings = [(x.entity, word) for x in scope.fields if x.key for word in (x.key, *x.aliases)]
    assert len(spellings) == len(set(spellings))
    for sort in (*scope.default_order, *scope.tie_break):
        assert scope.find("attribute", sort.key) is not None
    for field in scope.fields:
        assert field.operators or field.orderable
        column = field.place.value if isinstance(field.place, Child) else field.place
        assert (column.type.python_type is str) == (field.kind is Kind.TEXT)


WORDS = """tags metrics params attr name run_id start_time version_number experiment_id . ` " ' = != < >= LIKE IN
    NOT AND OR ( ) , 'x' "y" 1 -1.5 99999999999999999999 1e999 IS NULL % \\ ; é \x00 \ud800"""

_texts = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(WORDS.split()), max_size=14).map(" ".join),
    f.RUN_FILTERS,
    f.VERSION_FILTERS,
)


@given(text=_texts, scope=st.sampled_from(SCOPES))
def test_any_text_is_a_clause_or_refused(text: str, scope: Scope) -> None:
    """Whatever the text, it compiles for both databases or is an InvalidParameterValue, and never anything else."""
    for name, dialect in DIALECTS.items():
        for compiled in (
            lambda name=name: compile_filter(scope, text, dialect=name),
            lambda name=name: [term.clause for term in order_terms(scope, [text], dialect=name)],
        ):
            try:
                clauses = compiled()
            except InvalidParameterValue as refused:
                assert len(refused.message) < 1000
                continue
            if clauses is None:
                continue
            listed = clauses if isinstance(clauses, list) else [clauses]
            sql = str(select(*scope.tables[0].primary_key).order_by(*listed).compile(dialect=dialect))
            # What the caller wrote travels as parameters, and is never part of the statement.
            assert "é" not in sql
            assert "99999" not in sql


_names = st.text(st.characters(codec=None), max_size=20)


@given(_names, st.none() | _names)
def test_any_dataset_is_taken_or_refused(name: str, digest: str | None) -> None:
    """Dataset names and digests that no database takes as text are refused at the check, all others are not."""
    both = name + (digest or "")
    try:
        compile_filter(LOGGED_MODELS, None, dialect="sqlite", datasets=[Dataset(name, digest)])
        taken = True
    except InvalidParameterValue:
        taken = False
    assert taken == (not any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in both))


@pytest.mark.parametrize(
    ("pattern", "like", "glob"),
    [
        ("a%b_", "a%b_", "a*b?"),
        ("100*", "100*", "100[*]"),
        ("[a-z]?", "[a-z]?", "[[]a-z][?]"),
        (r"50\%", r"50\%", "50%"),
        (r"a\_b%", r"a\_b%", "a_b*"),
        (r"C:\dir%", r"C:\\dir%", r"C:\dir*"),
        (r"back\\%", r"back\\%", r"back\*"),
        ("end\\", r"end\\", "end\\"),
        ("", "", ""),
    ],
)
def test_patterns_mean_the_same_on_both_databases(pattern: str, like: str, glob: str) -> None:
    """A pattern as the filter has it, as LIKE reads it, and as GLOB reads it."""
    assert (to_like(pattern), to_glob(pattern)) == (like, glob)
