"""What a model, an alias and a version may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import InvalidParameterValue
from tiltyard.names import ModelName, check_alias, check_version, parse_model_name


@pytest.mark.parametrize(
    ("text", "full", "shown"),
    [
        ("iris", "workspace.default.iris", "iris"),
        ("workspace.default.iris", "workspace.default.iris", "iris"),
        ("main.clinic.tumor", "main.clinic.tumor", "main.clinic.tumor"),
        ("main.default.x", "main.default.x", "main.default.x"),
        ("a model", "workspace.default.a model", "a model"),
        ("модель", "workspace.default.модель", "модель"),
        ("x" * 255, f"workspace.default.{'x' * 255}", "x" * 255),
    ],
)
def test_names(text: str, full: str, shown: str) -> None:
    """One part is a model of the built-in schema, which is shown short; three parts are catalog, schema, model."""
    name = parse_model_name(text)
    assert (name.full, name.shown) == (full, shown)
    assert parse_model_name(name.full) == parse_model_name(name.shown) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\t",
        "a.b",
        "a.b.c.d",
        "a..b",
        ".a.b",
        "a.b.",
        "..",
        ".",
        "a/b",
        "a\\b",
        "a:b",
        "main.ml.a/b",
        " a",
        "a ",
        "main. ml.a",
        "a\x00",
        "a\nb",
        "a\u2028b",
        "\ud800",
        "x" * 256,
        "main.ml." + "x" * 300,
    ],
)
def test_names_that_are_none(text: str) -> None:
    """Blank, padded, overlong, two or four parts, separators and control characters are refused."""
    with pytest.raises(InvalidParameterValue) as caught:
        parse_model_name(text)
    assert "name" in caught.value.message
    assert len(caught.value.message) < 600


def test_the_message_names_the_parameter_and_the_rule() -> None:
    """Two parts are refused with what is expected and what came."""
    with pytest.raises(InvalidParameterValue, match=r"'new_name'.*one part.*or three.*got 2 parts"):
        parse_model_name("a.b", parameter="new_name")


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4).map(".".join) | st.text(max_size=50))
def test_any_text_is_a_name_or_a_refusal(text: str) -> None:
    """No text makes the rule fail, and an accepted name has three clean parts."""
    try:
        name = parse_model_name(text)
    except InvalidParameterValue:
        return
    assert isinstance(name, ModelName)
    for part in name:
        assert part == part.strip()
        assert not set(part) & set("./\\:")


@pytest.mark.parametrize("alias", ["champion", "Challenger-2", "1", "v", "v1a", "_", "ünï", "a" * 255])
def test_aliases(alias: str) -> None:
    """Word characters and '-' are fine, also digits alone."""
    assert check_alias(alias) == alias


@pytest.mark.parametrize(
    "alias", ["", " ", "a b", "a/b", "a.b", "a@b", "latest", "LATEST", "v1", "V22", "a\n", "a" * 256]
)
def test_aliases_that_are_none(alias: str) -> None:
    """Other characters, overlong and reserved aliases are refused."""
    with pytest.raises(InvalidParameterValue):
        check_alias(alias)


@pytest.mark.parametrize(
    ("version", "number"), [("1", 1), (7, 7), ("007", 7), ("0", 0), ("-1", 0), ("2147483648", 0), ("9" * 18, 0)]
)
def test_versions(version: str | int, number: int) -> None:
    """A decimal integer is a version; one that no model can have is 0, which never exists."""
    assert check_version(version) == number


@pytest.mark.parametrize("version", ["", "abc", "1.0", "1e3", " 1", "1 ", "٣", "0x1", True, "9" * 19, "1\n"])
def test_versions_that_are_none(version: str | int) -> None:
    """Anything that is not a decimal integer is malformed."""
    with pytest.raises(InvalidParameterValue, match="version"):
        check_version(version)
