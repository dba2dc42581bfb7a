"""Random filters and orders in upstream's own grammar: comparisons joined by AND."""

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from tests.registry.search.rows import KEYS, STATUSES, TEXTS, TIMES
from tiltyard_registry.search import EXPERIMENTS, MODEL_VERSIONS, REGISTERED_MODELS, RUNS, Scope
from tiltyard_registry.search.check import resolve
from tiltyard_registry.search.grammar import parse_order

Text = st.SearchStrategy[str]
Spelling = Callable[[Sequence[str]], Text]

PATTERNS = ("%", "a%", "A%", "%a", "_lpha", "alp*%", "%*%", "a_b", "a%b", "[z]", "?", "%\\s%", "%日%", "é%", "", "_")
MODEL_NAMES = ("alpha0-0", "alpha%", "%-1_", "%2-%", "A%", "%1-1%")
NUMBERS = ("0", "1", "-1.5", "2.5", "1e-9", "1E300", ".5", "1.", "-2", "1000", "1000.5")
WHOLE = (*map(str, TIMES), "5", "-1")
NUMERIC_OPERATORS = ("=", "!=", "<", "<=", ">", ">=")

_space = st.sampled_from([" ", " ", "  ", "\n", "\t"])


def one_of(words: Sequence[str]) -> Text:
    """Any of the words."""
    return st.sampled_from(list(words))


def cased(words: Sequence[str]) -> Text:
    """Any of the words, in any case."""
    return one_of([form for word in words for form in (word, word.lower(), word.capitalize())])


def quoted(texts: Sequence[str], quotes: str = "'\"") -> Text:
    """A text in quotes that it does not hold itself."""
    return one_of([q + text + q for text in texts for q in quotes if q not in text])


def joined(*parts: Text) -> Text:
    """The parts with some space between them."""
    spaced = [part for each in parts for part in (_space, each)][1:]
    return st.tuples(*spaced).map("".join)


def named(entities: Sequence[str], keys: Sequence[str], *, bare: bool = False) -> Text:
    """`entity.key`, quoted where the key needs it, or `bare` the key alone."""
    wrapped = [f"{q}{key}{q}" for key in keys for q in '`"']
    plain = [key for key in keys if key.replace(".", "").isidentifier()]
    full = st.tuples(one_of(entities), one_of([*wrapped, *plain, *plain])).map(".".join)
    return st.one_of(full, one_of(plain)) if bare else full


def text_clause(name: Text, texts: Sequence[str], quotes: str = "'\"", spell: Spelling = cased) -> Text:
    """A comparison with a text or a pattern."""
    exact = joined(name, one_of(["=", "!="]), quoted(texts, quotes))
    like = joined(name, spell(["LIKE", "ILIKE"]), quoted((*PATTERNS, *MODEL_NAMES), quotes))
    return st.one_of(exact, like)


def list_clause(name: Text, texts: Sequence[str], spell: Spelling = cased) -> Text:
    """A comparison with a list. Upstream reads it as a Python tuple: no quotes, no backslashes within."""
    plain = quoted([text for text in texts if not set(text) & set("'\"\\")])
    values = st.lists(plain, min_size=1, max_size=4).map(lambda items: f"({', '.join(items)})")
    return joined(name, spell(["IN", "NOT IN"]), values)


def number_clause(name: Text, numbers: Sequence[str]) -> Text:
    """A comparison with a number."""
    return joined(name, one_of(NUMERIC_OPERATORS), one_of(numbers))


def presence_clause(name: Text) -> Text:
    """IS NULL or IS NOT NULL."""
    return joined(name, cased(["IS NULL", "IS NOT NULL"]))


def filters(*clauses: Text) -> Text:
    """Up to four clauses joined by AND."""
    several = st.lists(st.one_of(*clauses), min_size=1, max_size=4)
    return st.tuples(several, cased(["AND"]), one_of(["", "", "", " and"])).map(
        lambda parts: f" {parts[1]} ".join(parts[0]) + parts[2]
    )


def with_prompts(*clauses: Text) -> Text:
    """Clauses joined by AND, at most one of them about prompts: upstream looks at the first such alone."""
    prompt = joined(
        one_of(["tag.`mlflow.prompt.is_prompt`", 'tags."mlflow.prompt.is_prompt"']),
        one_of(["=", "!="]),
        quoted(["true", "false"]),
    )
    most = filters(*clauses)
    with_one = st.tuples(prompt, most).map(" AND ".join)
    return st.one_of(most, prompt, with_one)


def orders(scope: Scope, names: Text) -> st.SearchStrategy[list[str]]:
    """Up to three items, no field twice, for that makes upstream fail."""

    def field(item: str) -> tuple[str, str]:
        identifier, _ = parse_order(item)
        found = resolve(scope, identifier, to_sort=True)
        return found.entity, found.key or identifier.key

    items = st.tuples(names, one_of(["", " ASC", " desc"])).map("".join)
    return st.lists(items, max_size=3, unique_by=field)


_TAG = ("tag", "tags")
_ATTRIBUTE = ("attribute",)
_RUN = ("attribute", "attributes", "attr", "run")
_METRIC = ("metric", "metrics")
_PARAM = ("param", "params", "parameter", "parameters")
_DATASET = ("dataset", "datasets")
_NAMES_OF_RUN = ("run_name", "run name", "Run name", "Run Name")
_STARTS = ("start_time", "created", "Created")
_RUN_NUMBERS = (*WHOLE, "1000.5", "1e3")
_RUN_TEXTS = (*_NAMES_OF_RUN, "user_id", "status", "artifact_uri")

RUN_FILTERS = filters(
    text_clause(named(_RUN, _RUN_TEXTS, bare=True), (*TEXTS, *STATUSES)),
    text_clause(named(_RUN, ["status"], bare=True), STATUSES),
    number_clause(named(_RUN, (*_STARTS, "end_time"), bare=True), _RUN_NUMBERS),
    number_clause(named(_METRIC, KEYS), NUMBERS),
    text_clause(named(_PARAM, KEYS), TEXTS),
    text_clause(named(_TAG, KEYS), TEXTS),
    presence_clause(named((*_PARAM, *_TAG), KEYS)),
    text_clause(named(_DATASET, ["name", "context"]), TEXTS[:8]),
    list_clause(named(_DATASET, ["name", "digest", "context"]), (*TEXTS[:8], "d1", "d2", "d3")),
)
RUN_ORDERS = orders(
    RUNS,
    st.one_of(
        named(_RUN, (*_STARTS, "end_time", "status", "user_id", "run_id"), bare=True),
        named(_METRIC, KEYS),
        named((*_TAG, *_PARAM), KEYS),
    ),
)

_EXPERIMENT_NAMES = [f"{text}{n}" for n, text in enumerate(TEXTS[:9])]

# Upstream takes the words of this scope in capitals only.
EXPERIMENT_FILTERS = filters(
    text_clause(named(_ATTRIBUTE, ["name"], bare=True), _EXPERIMENT_NAMES, spell=one_of),
    joined(named(_ATTRIBUTE, ["experiment_id"], bare=True), one_of(["=", "!="]), quoted(["0", "3", "77"])),
    list_clause(named(_ATTRIBUTE, ["experiment_id"], bare=True), ["0", "2", "5", "77"], one_of),
    number_clause(named(_ATTRIBUTE, ["creation_time", "last_update_time"], bare=True), WHOLE),
    text_clause(named(_TAG, KEYS), TEXTS, spell=one_of),
    presence_clause(named(_TAG, KEYS)),
)
EXPERIMENT_ORDERS = orders(
    EXPERIMENTS,
    named(_ATTRIBUTE, ["name", "experiment_id", "creation_time", "last_update_time"], bare=True),
)

_REGISTRY_TAGS = text_clause(named(_TAG, KEYS), TEXTS)
_MODEL_NAME = one_of(["name", "attribute.name"])

MODEL_FILTERS = with_prompts(
    text_clause(_MODEL_NAME, MODEL_NAMES), list_clause(_MODEL_NAME, MODEL_NAMES), _REGISTRY_TAGS
)
MODEL_ORDERS = orders(
    REGISTERED_MODELS,
    one_of(["name", "timestamp", "last_updated_timestamp"]),
)

VERSION_FILTERS = with_prompts(
    text_clause(_MODEL_NAME, MODEL_NAMES),
    list_clause(_MODEL_NAME, MODEL_NAMES),
    text_clause(one_of(["run_id", "source_path", "attribute.source_path"]), TEXTS),
    list_clause(one_of(["run_id"]), ["", "x"]),
    number_clause(one_of(["version_number"]), ["1", "5", "'7'", '"3"', "-1"]),
    _REGISTRY_TAGS,
)
VERSION_ORDERS = orders(
    MODEL_VERSIONS,
    one_of(["name", "version_number", "creation_timestamp", "last_updated_timestamp"]),
)

# Upstream takes double quotes here as part of the text, so that they never match.
LOGGED_FILTERS = filters(
    text_clause(one_of(["name", "attributes.name", "model_type", "source_run_id"]), TEXTS, quotes="'"),
    list_clause(one_of(["name", "attributes.model_type"]), ["alpha", "Alpha", "agent", ""]),
    number_clause(one_of(["creation_timestamp", "creation_time", "last_updated_timestamp"]), WHOLE),
    number_clause(one_of(["metrics.k", "metrics.`key two`", "metrics.`a/b`"]), NUMBERS),
    text_clause(one_of(["params.k", "tags.`dotted.key`", "tags.K", "params.`a/b`"]), TEXTS, quotes="'"),
)
