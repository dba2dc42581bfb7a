"""What is configured, and what a path asks for."""

from pathlib import Path

import pytest

from tiltyard.errors import InvalidParameterValue
from tiltyard.uri import AliasUri, LatestUri, StageUri, VersionUri
from tiltyard_serving.endpoints.entities import (
    asked_for,
    full_pattern,
    named_by_alias,
    parse_entities,
    parse_entity,
    registered_uri,
)

MODEL_ID = "m-" + "0" * 32


@pytest.mark.parametrize(
    ("text", "endpoint", "names"),
    [
        ("models:/main.ml.iris@champion", None, AliasUri("main.ml.iris", "champion")),
        ("iris=models:/main.ml.iris/3", "iris", VersionUri("main.ml.iris", 3)),
        ("models:/iris/Production", None, StageUri("workspace.default.iris", "Production")),
        ("a-b_1=models:/iris/latest", "a-b_1", LatestUri("workspace.default.iris")),
    ],
)
def test_an_entity_is_an_optional_name_and_a_uri(text: str, endpoint: str | None, names: object) -> None:
    """`[NAME=]URI` is read, registered models by their full name."""
    entity = parse_entity(text)
    assert (entity.endpoint, entity.names) == (endpoint, names)


def test_a_directory_may_hold_an_equals_sign(tmp_path: Path) -> None:
    """A path is not mistaken for a name."""
    folder = tmp_path / "date=2026-01-01"
    folder.mkdir()
    (folder / "MLmodel").touch()
    assert parse_entity(str(folder)).endpoint is None
    assert parse_entity(f"iris={folder}").endpoint == "iris"


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        (("",), "empty"),
        (("models:/",), "Invalid model URI"),
        (("models:/two.parts/1",), "got 2 parts"),
        (("/nowhere/at/all",), "no model directory"),
        (("x=models:/a/1", "x=models:/b/1"), "there twice"),
        (("models:/a/1", "models:/a/1"), "there twice"),
        (("models:/a/1", f"models:/{MODEL_ID}"), "needs a name"),
        (("default=models:/a/1", f"models:/{MODEL_ID}"), "needs a name"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(models: tuple[str, ...], problem: str) -> None:
    """A malformed or unreachable model is an error that says what is wrong."""
    with pytest.raises(InvalidParameterValue, match=problem):
        parse_entities(models)


@pytest.mark.parametrize(
    ("name", "selector", "expected"),
    [
        ("main.ml.iris", "3", "models:/main.ml.iris/3"),
        ("iris", "champion", "models:/iris@champion"),
        ("iris", "production", "models:/iris/Production"),
        ("iris", "LATEST", "models:/iris/latest"),
        ("iris", "a b", None),
        ("iris", "v3", None),
        ("iris", "", None),
        ("two.parts", "3", None),
        ("", "3", None),
        ("iris@x", "3", "models:/iris@x/3"),
        ("..", "3", None),
    ],
)
def test_a_path_asks_for_a_version_a_stage_or_an_alias(name: str, selector: str, expected: str | None) -> None:
    """The two parts of a path name a version, a stage, `latest` or an alias, or nothing."""
    found = asked_for(name, selector)
    assert (found and registered_uri(found)) == expected


@pytest.mark.parametrize(
    ("pattern", "means"),
    [("tumor", "workspace.default.tumor"), ("t*", "workspace.default.t*"), ("*", "*"), ("main.ml.*", "main.ml.*")],
)
def test_a_pattern_without_a_dot_is_of_the_built_in_schema(pattern: str, means: str) -> None:
    """Models there are called by their short names everywhere."""
    assert full_pattern(pattern) == means


def test_an_alias_may_have_any_name() -> None:
    """`NAME@ALIAS` is never a stage, a version or `latest`."""
    for alias in ("production", "3", "champion"):
        assert named_by_alias("m", alias) == AliasUri("workspace.default.m", alias)
    assert named_by_alias("a.b", "champion") is None
