"""The rule by which a model gets the name that it has here."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.names import parse_model_name
from tiltyard_registry.importing.names import renamed


@pytest.mark.parametrize(
    ("names", "here"),
    [
        (["churn", "cat.schema.churn", "größe mit platz"], ["churn", "cat.schema.churn", "größe mit platz"]),
        (["a.b"], ["a_b"]),
        (["a.b.c.d", "x..y", " padded ", "back\\slash"], ["a_b_c_d", "x__y", "padded", "back_slash"]),
        (["a.b", "a_b"], ["a_b_2e7336dc", "a_b"]),
        (["workspace.default.m", "m"], ["workspace_default_m", "m"]),
        (["workspace.default.m"], ["m"]),
        (["n" * 256], ["n" * 255]),
        (["..."], ["___"]),
    ],
)
def test_a_name_becomes(names: list[str], here: list[str]) -> None:
    """Names of one or three parts are kept; the others follow the rule."""
    found = [renamed(names)[name] for name in names]
    assert [parse_model_name(name).shown for name in found] == found
    assert found == here


NAMES = st.lists(
    st.text(st.sampled_from("ab._ \\\x07é"), min_size=1, max_size=9).filter(str.strip) | st.text("ab.", min_size=1),
    unique=True,
    max_size=12,
)


@given(NAMES, st.randoms(use_true_random=False))
def test_every_name_is_one_that_models_may_have_and_no_two_are_one(names: list[str], order: random.Random) -> None:
    """Whatever the names and in whatever order they come, the answer is the same."""
    found = renamed(names)
    assert len(set(found.values())) == len(names)
    assert {name: parse_model_name(name).shown for name in found.values()} == {name: name for name in found.values()}
    shuffled = list(names)
    order.shuffle(shuffled)
    assert renamed(shuffled) == found
