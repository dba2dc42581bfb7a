"""The pure rules of tracking: keys, points, names, states, locations."""

import math
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import InvalidParameterValue
from tiltyard.wire.mlflow.runs import MetricIn
from tiltyard_registry.rules import entries, experiments, keys, lifecycle, metrics, run_names

numbers = st.floats(allow_nan=True, allow_infinity=True)
points = st.builds(
    MetricIn,
    st.sampled_from(["a", "b", "c"]),
    st.one_of(st.sampled_from([0.0, 1.0, math.inf, -math.inf, math.nan]), numbers),
    st.integers(0, 3),
    step=st.integers(-2, 2),
).map(metrics.check_point)


@given(st.lists(points), st.lists(points))
def test_the_newest_point_does_not_depend_on_batches(first: list[metrics.Point], second: list[metrics.Point]) -> None:
    """Reducing two batches one after the other, in either order, is reducing them at once."""
    at_once = metrics.newest(first + second)
    assert metrics.newest(metrics.newest(first) + metrics.newest(second)) == at_once
    assert metrics.newest(second + first) == at_once
    for point in at_once:
        same = [other for other in first + second if other.key == point.key]
        assert all(point.age >= other.age for other in same)


@given(numbers)
def test_a_value_is_shown_as_it_was_logged(value: float) -> None:
    """Every double comes back: finite ones as numbers, the others as the texts the protocol has for them."""
    point = metrics.check_point(MetricIn("k", value, 0))
    shown = metrics.shown(point.value, point.is_nan)
    assert math.isnan(float(shown)) if math.isnan(value) else float(shown) == value
    assert isinstance(shown, float) == math.isfinite(value)


@given(st.text(max_size=300))
def test_a_key_that_passes_is_a_path_of_its_own(text: str) -> None:
    """What is let through can be a file name without meaning another one, and fits the column."""
    try:
        key = keys.check_key(text)
    except InvalidParameterValue:
        return
    assert key == text == posixpath.normpath(text)
    assert 0 < len(key) <= 250
    assert not key.startswith(("/", ".."))
    key.encode()


@pytest.mark.parametrize("key", ["loss", "val/loss", "a b", "é", "a:b", "a.b-c_d", "x" * 250, "日本", "a/.b", ".a"])
def test_good_keys(key: str) -> None:
    """Word characters of any script, slashes, dots, dashes, colons and spaces are fine."""
    assert keys.check_key(key) == key


@pytest.mark.parametrize("key", ["", "a$b", "a\n", "/a", "a/", "a//b", "./a", ".", "..", "../a", "a/../b", "x" * 251])
def test_bad_keys(key: str) -> None:
    """What would name another file, or is no word, is refused."""
    with pytest.raises(InvalidParameterValue):
        keys.check_key(key)


def test_bad_keys_are_named_in_upstreams_words() -> None:
    """The text of the refusal is the one that clients know."""
    with pytest.raises(InvalidParameterValue) as refused:
        metrics.check_point(MetricIn("a$b", 1.0, 0))
    assert refused.value.message == (
        "Invalid value \"a$b\" for parameter 'name' supplied: Names may only contain alphanumerics, underscores (_), "
        "dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
    )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=3)).map(lambda pair: entries.Entry(*pair))))
def test_of_equal_keys_the_last_stays(given_entries: list[entries.Entry]) -> None:
    """As if each were written after the other; sorted, so that all writers lock in one order."""
    kept = entries.last_of_each(given_entries)
    assert dict(kept) == dict(given_entries)
    assert [entry.key for entry in kept] == sorted({entry.key for entry in given_entries})


def test_invented_names_look_alike_and_differ() -> None:
    """Adjective, noun and number, short enough for every place that shows them."""
    names = {run_names.invent() for _ in range(500)}
    assert len(names) > 450
    for name in names:
        adjective, noun, number = name.split("-")
        assert adjective.isalpha() and noun.isalpha() and number.isdigit()
        assert len(name) <= run_names.MAX_INVENTED_CHARS


@pytest.mark.parametrize(
    ("view_type", "stages"),
    [
        (None, ("active",)),
        ("", ("active",)),
        ("ACTIVE_ONLY", ("active",)),
        ("deleted_only", ("deleted",)),
        ("All", ("active", "deleted")),
        (1, ("active",)),
        (3, ("active", "deleted")),
        ("2", ("deleted",)),
    ],
)
def test_views(view_type: str | int | None, stages: tuple[str, ...]) -> None:
    """A view is named in any case, or by its number."""
    assert lifecycle.lifecycle_stages(view_type) == stages


@pytest.mark.parametrize("view_type", ["SOME", 0, 4, "-1", "1.0", True])
def test_unknown_views(view_type: str | int) -> None:
    """What is no view is refused with the list of views."""
    with pytest.raises(InvalidParameterValue, match="expected one of ACTIVE_ONLY, DELETED_ONLY, ALL"):
        lifecycle.lifecycle_stages(view_type)


@pytest.mark.parametrize("status", ["READY", "LOGGED_MODEL_READY", "ready", 2, "2"])
def test_logged_model_statuses(status: str | int) -> None:
    """A status is named with or without its prefix, or by its number."""
    assert lifecycle.logged_model_status(status) == "LOGGED_MODEL_READY"


@pytest.mark.parametrize("status", ["", "DONE", 0, 4, "LOGGED_MODEL_STATUS_UNSPECIFIED"])
def test_unknown_logged_model_statuses(status: str | int) -> None:
    """'Unspecified' is no status to move to."""
    with pytest.raises(InvalidParameterValue):
        lifecycle.logged_model_status(status)


@pytest.mark.parametrize(
    ("location", "run"),
    [
        ("mlflow-artifacts:/", "mlflow-artifacts:/r/artifacts"),
        ("mlflow-artifacts:/7", "mlflow-artifacts:/7/r/artifacts"),
        ("s3://bucket", "s3://bucket/r/artifacts"),
        ("s3://bucket/a/", "s3://bucket/a/r/artifacts"),
        ("s3://bucket/a?x=1", "s3://bucket/a/r/artifacts?x=1"),
        ("/srv/artifacts", "/srv/artifacts/r/artifacts"),
    ],
)
def test_places_below_a_location(location: str, run: str) -> None:
    """A run's files lie below its experiment's, and a query stays at the end."""
    assert experiments.below(experiments.check_artifact_location(location), "r", "artifacts") == run


@pytest.mark.parametrize(
    "location",
    ["runs:/a", "models:/a", "javascript:alert(1)", "s3://b/..", "s3://b/%2E./x", "s3://b/a#b", "s3://b/a;p", "a\x00b"],
)
def test_locations_that_are_none(location: str) -> None:
    """What is no place, or would lead out of one, is refused."""
    with pytest.raises(InvalidParameterValue):
        experiments.check_artifact_location(location)


@given(st.text(max_size=50))
def test_an_experiment_id_is_a_number_or_refused(text: str) -> None:
    """Whatever comes, the answer is a number that the column holds, or a refusal."""
    try:
        number = experiments.parse_experiment_id(text)
    except InvalidParameterValue:
        return
    assert -1 <= number < 2**31


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("30d", 2_592_000_000), ("2d8h5m20s", 201_920_000), ("2m4s", 124_000), ("1.5h", 5_400_000), (" 0s ", 0)],
)
def test_an_age_is_read_as_upstream_reads_it(text: str, milliseconds: int) -> None:
    """Days, hours, minutes and seconds, in this order, fractions too."""
    assert lifecycle.age_ms(text, parameter="older_than") == milliseconds


@pytest.mark.parametrize("text", ["", "30", "d", "1s2d", "-1d", "1..2d", "1e9d", "9" * 400 + "s", "nand", "1 d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    """Whatever it is, by name and with an example."""
    with pytest.raises(InvalidParameterValue, match="'grace': expected an age such as '30d'"):
        lifecycle.age_ms(text, parameter="grace")
