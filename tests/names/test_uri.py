"""Model URIs, and the two functions through which every path of a caller passes."""

import contextlib
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiltyard.errors import InvalidParameterValue
from tiltyard.uri import (
    AliasUri,
    DirectoryUri,
    LatestUri,
    LoggedModelUri,
    ModelUri,
    RunUri,
    StageUri,
    VersionUri,
    contain,
    format_model_uri,
    parse_model_uri,
    safe_relative_path,
)

MODEL_ID = "m-" + "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models:/iris/3", VersionUri("iris", 3)),
        ("models:/main.ml.iris/12", VersionUri("main.ml.iris", 12)),
        ("models:/iris@champion", AliasUri("iris", "champion")),
        ("models:/main.ml.iris@Prod-1", AliasUri("main.ml.iris", "Prod-1")),
        ("models:/iris/latest", LatestUri("iris")),
        ("models:/iris/LATEST", LatestUri("iris")),
        ("models:/iris@latest", LatestUri("iris")),
        ("models:/iris/production", StageUri("iris", "Production")),
        ("models:/iris/None", StageUri("iris", "None")),
        (f"models:/{MODEL_ID}", LoggedModelUri(MODEL_ID)),
        ("runs:/abc123/model", RunUri("abc123", "model")),
        ("runs:/abc123/a/b", RunUri("abc123", "a/b")),
        ("s3://bucket/model", DirectoryUri("s3://bucket/model")),
        ("/a/path", DirectoryUri("/a/path")),
        ("relative/path", DirectoryUri("relative/path")),
        ("file:///a/path", DirectoryUri("file:///a/path")),
    ],
)
def test_every_form_of_a_uri(uri: str, expected: ModelUri) -> None:
    """Each documented form is read as what it names."""
    assert parse_model_uri(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "  ",
        "models:/",
        "models:",
        "models://iris/3",
        "models:iris/3",
        "models:/iris",
        "models:/iris/",
        "models:/iris/abc",
        "models:/iris/3/4",
        "models:/iris/-1",
        "models:/iris/٣",
        "models:/iris@",
        "models:/iris@v1",
        "models:/iris@a b",
        "models:/@champion",
        "models:/a.b/1",
        "models:/a.b.c.d/1",
        "models:/../1",
        "models:/a:b/1",
        "models:/m-123",
        "runs:/",
        "runs:/abc",
        "runs:/abc/",
        "runs://abc/model",
        "runs:/abc/../x",
        "runs:/../x/model",
        "runs:/a b/model",
    ],
)
def test_what_is_no_uri_is_refused(uri: str) -> None:
    """Anything else under these schemes is refused with a message, never guessed at."""
    with pytest.raises(InvalidParameterValue):
        parse_model_uri(uri)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/a/b", Path("/a/b")),
        ("a/b", Path("a/b")),
        ("file:///a/b%20c", Path("/a/b c")),
        ("s3://bucket/x", None),
        ("gs://bucket/x", None),
    ],
)
def test_the_local_path_of_a_directory(location: str, path: Path | None) -> None:
    """Only a directory of this machine has a path."""
    assert DirectoryUri(location).local_path == path


@given(
    name=st.from_regex(r"[a-z][a-z0-9_\-]{0,20}(\.[a-z]{1,5}\.[a-z]{1,5})?", fullmatch=True),
    version=st.integers(1, 10**6),
)
def test_a_formatted_uri_is_read_back(name: str, version: int) -> None:
    """What `format_model_uri` writes, `parse_model_uri` reads."""
    assert parse_model_uri(format_model_uri(name, version)) == VersionUri(name, version)


@given(st.text(max_size=60).map(lambda rest: "models:/" + rest) | st.text(max_size=60))
def test_no_text_makes_the_parser_fail(uri: str) -> None:
    """Any text is either read or refused as an invalid parameter."""
    with contextlib.suppress(InvalidParameterValue):
        parse_model_uri(uri)


# One line for each spelling in the published advisories on MLflow's servers.
TRAVERSALS = [
    "../x",
    "a/../../x",
    "..",
    "a/..",
    "..\\x",
    "a\\..\\b",
    "a/..\t/b",
    "%2e%2e/x",
    "%2e%2e%2fx",
    "..%2fx",
    "%252e%252e%252fx",
    "%25252e%25252e%25252fx",
    "%2525252525252e%2525252525252e/x",
    "a/..;/..;/x",
    "..;/x",
    "a?/../x",
    "a#/../x",
    "a%23b",
    "a%3fb",
    "a\x00b",
    "a%00b",
    "a%2500b",
    "a\nb",
    "a\x7fb",
    "/etc/passwd",
    "%2fetc/passwd",
    "%252fetc/passwd",
    "//host/share",
    "\\\\host\\share",
    "%5c%5chost",
    "C:/x",
    "c:x",
    "C%3a/x",
    "a/.. /x",
    "a/ ../x",
    "\ud800",
    "a/" * 1500,
    "%" + "25" * 50 + "2e",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_paths_that_could_lead_out_are_refused(path: str, tmp_path: Path) -> None:
    """Every published way to hide a way out of a directory is refused, by both functions."""
    with pytest.raises(InvalidParameterValue):
        safe_relative_path(path)
    with pytest.raises(InvalidParameterValue):
        contain(tmp_path, path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("a", "a"),
        ("a/b", "a/b"),
        ("a//b/", "a/b"),
        ("./a/./b", "a/b"),
        ("a b/ü.bin", "a b/ü.bin"),
        ("100%", "100%"),
        ("a%20b", "a%20b"),
        ("a;b=c&d", "a;b=c&d"),
        (".hidden", ".hidden"),
        ("a..b", "a..b"),
        ("..hidden.txt", "..hidden.txt"),
        ("...", "..."),
        ("sub/..cache/x", "sub/..cache/x"),
        ("..data/... ..", "..data/... .."),
        ("a\\b", "a\\b"),
        ("a\tb", "a\tb"),
        ("m-1/artifacts/data.v2..bak", "m-1/artifacts/data.v2..bak"),
    ],
)
def test_harmless_paths_stay_what_they_are(path: str, expected: str) -> None:
    """Ordinary names are not decoded or renamed; only slashes and dots are tidied."""
    assert safe_relative_path(path) == expected


HOSTILE = st.lists(
    st.sampled_from(
        ["..", ".", "/", "\\", "%2e", "%2f", "%252e", "%5c", "a", "b", " ", ";", "link", "out", "%00", "~", "ü", "..."]
    ),
    max_size=12,
).map("".join)


@given(st.text(max_size=80) | HOSTILE)
@example("link/x")
@example("link/../out")
@example("b/b")
def test_what_is_accepted_is_always_below_the_root(path: str) -> None:
    """Whatever links lie in the root and on the way: the result has none and is below it, or it is a refusal."""
    with tempfile.TemporaryDirectory() as folder:
        outside, root = Path(folder, "out"), Path(folder, "root")
        outside.mkdir()
        root.mkdir()
        (root / "link").symlink_to(outside)
        (root / "a").mkdir()
        (root / "b").symlink_to(root / "a")
        Path(folder, "named").symlink_to(root)
        resolved = root.resolve()
        for base in (root, Path(folder, "named")):
            try:
                target = contain(base, path)
            except InvalidParameterValue:
                continue
            assert target == (resolved / safe_relative_path(path)).resolve()
            assert target == resolved or resolved in target.parents


@example("./\\x")
@example("./C:x")
@example("././%5Cx")
@given(st.text(max_size=80) | HOSTILE)
def test_an_accepted_path_is_tidy_and_accepted_again(path: str) -> None:
    """The result is relative, has no empty or dot parts, and means the same when it is checked again."""
    try:
        safe = safe_relative_path(path)
    except InvalidParameterValue:
        return
    assert not safe.startswith("/")
    assert all(part not in ("", ".", "..") for part in safe.split("/") if safe)
    assert safe_relative_path(safe) == safe
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f#?]", safe)


def test_the_error_shows_no_more_than_it_must() -> None:
    """A long or binary path is quoted safely, not echoed whole."""
    with pytest.raises(InvalidParameterValue) as caught:
        safe_relative_path("../" + "x" * 1000 + "\x1b[31m")
    assert len(caught.value.message) < 250
    assert "\x1b" not in caught.value.message
