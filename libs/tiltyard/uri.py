"""Model URIs, and the two functions through which every path of a caller passes.

models:/NAME/3   models:/NAME@alias   models:/NAME/latest   models:/NAME/Production   models:/m-<32 hex>
runs:/RUN_ID/path   and any path or object-store URI of a model directory
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from stat import S_ISLNK
from urllib.parse import unquote, urlsplit

from tiltyard.errors import InvalidParameterValue
from tiltyard.names import check_alias, check_version, is_latest, parse_model_name

STAGES = ("None", "Staging", "Production", "Archived")
_STAGE_BY_LOWER = {stage.lower(): stage for stage in STAGES}

_LOGGED_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
_RUN_ID = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z_\-]{0,63}")
# A tab is a character of names; what ends a line, a text or a path's meaning is none.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f#?]")
_SEPARATOR = re.compile(r"[/\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_DECODES = 8
_MAX_PATH_CHARS = 2048


@dataclass(frozen=True, slots=True)
class VersionUri:
    """`models:/NAME/3`: one exact version."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class AliasUri:
    """`models:/NAME@champion`: whatever version the alias names."""

    name: str
    alias: str


@dataclass(frozen=True, slots=True)
class StageUri:
    """`models:/NAME/Production`: the newest version in a stage, spelled as upstream spells it."""

    name: str
    stage: str


@dataclass(frozen=True, slots=True)
class LatestUri:
    """`models:/NAME/latest`: the highest version."""

    name: str


@dataclass(frozen=True, slots=True)
class LoggedModelUri:
    """`models:/m-<32 hex>`: a logged model, registered or not."""

    model_id: str


@dataclass(frozen=True, slots=True)
class RunUri:
    """`runs:/RUN_ID/path`: a directory below a run, or a model logged under that name."""

    run_id: str
    path: str


@dataclass(frozen=True, slots=True)
class DirectoryUri:
    """A model directory that the caller names himself: a local path or an object-store URI."""

    location: str

    @property
    def local_path(self) -> Path | None:
        """The directory on this machine, or None for an object store."""
        scheme = urlsplit(self.location).scheme
        if scheme == "file":
            return Path(unquote(urlsplit(self.location).path))
        return None if "://" in self.location else Path(self.location)


RegisteredUri = VersionUri | AliasUri | StageUri | LatestUri
ModelUri = RegisteredUri | LoggedModelUri | RunUri | DirectoryUri


def parse_model_uri(uri: str) -> ModelUri:
    """What `uri` names.

    Names of registered models are checked and kept as the caller spelled them.

    Raises:
        InvalidParameterValue: it is none of the forms above, or a part of it breaks a rule.
    """
    if not uri or not uri.strip():
        raise InvalidParameterValue("A model URI cannot be empty.")
    scheme, colon, rest = uri.partition(":")
    if colon and scheme == "models":
        return _parse_models(uri, rest)
    if colon and scheme == "runs":
        return _parse_runs(uri, rest)
    return DirectoryUri(uri)


def _parse_models(uri: str, rest: str) -> RegisteredUri | LoggedModelUri:
    if rest.startswith("//") or not rest.startswith("/"):
        raise InvalidParameterValue(
            f"Invalid model URI '{uri[:300]}': expected 'models:/NAME/VERSION', 'models:/NAME/STAGE', "
            "'models:/NAME/latest', 'models:/NAME@ALIAS' or 'models:/MODEL_ID'."
        )
    body = rest.lstrip("/").rstrip("/")
    name, slash, suffix = body.partition("/")
    if slash:
        parse_model_name(name)
        return _with_suffix(uri, name, suffix)
    if _LOGGED_MODEL_ID.fullmatch(body):
        return LoggedModelUri(body)
    name, at, alias = body.rpartition("@")
    if not at:
        raise InvalidParameterValue(
            f"Invalid model URI '{uri[:300]}': a version, a stage, 'latest' or '@alias' must follow the name."
        )
    parse_model_name(name)
    if is_latest(alias):
        return LatestUri(name)
    return AliasUri(name, check_alias(alias))


def _with_suffix(uri: str, name: str, suffix: str) -> RegisteredUri:
    if is_latest(suffix):
        return LatestUri(name)
    if suffix.lower() in _STAGE_BY_LOWER:
        return StageUri(name, _STAGE_BY_LOWER[suffix.lower()])
    if suffix.isascii() and suffix.isdigit():
        return VersionUri(name, check_version(suffix))
    raise InvalidParameterValue(
        f"Invalid model URI '{uri[:300]}': '{suffix[:80]}' is neither a version number, 'latest', nor one of "
        f"the stages {', '.join(STAGES)}."
    )


def _parse_runs(uri: str, rest: str) -> RunUri:
    run_id, _, path = rest.lstrip("/").partition("/")
    if rest.startswith("//") or not rest.startswith("/") or not _RUN_ID.fullmatch(run_id) or not path:
        raise InvalidParameterValue(f"Invalid run URI '{uri[:300]}': expected 'runs:/RUN_ID/path'.")
    return RunUri(run_id, safe_relative_path(path))


def format_model_uri(name: str, version: int | str) -> str:
    """`models:/NAME/VERSION`."""
    return f"models:/{name}/{version}"


@lru_cache(maxsize=1024)
def safe_relative_path(path: str, *, parameter: str = "path") -> str:
    """`path` with single slashes and no leading or trailing one, if it stays below where it starts.

    Percent-decoding is repeated until nothing changes before the check, so no encoding hides a `..`; the text
    returned is the one that came, not the decoded one. The empty path is the root itself.

    Raises:
        InvalidParameterValue: absolute, a drive letter, a part that is `..` (between slashes or backslashes), `#`,
            `?`, a control character other than a tab, or too long.
    """
    if len(path) > _MAX_PATH_CHARS:
        raise InvalidParameterValue(f"Invalid path for parameter '{parameter}': over {_MAX_PATH_CHARS} characters.")
    tidy = "/".join(part for part in path.split("/") if part and part != ".")
    # Both, for a part that is left out may have hidden where the next one leads: `./C:x`.
    for spelling in dict.fromkeys((path, tidy)):
        for text in _readings(spelling, parameter):
            if _SEPARATOR.match(text) or _DRIVE.match(text) or _FORBIDDEN.search(text) or _leads_up(text):
                raise InvalidParameterValue(
                    f"Invalid path {text[:80]!a} for parameter '{parameter}': expected a relative path "
                    "without '..', '#', '?' or control characters."
                )
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidParameterValue(f"Invalid path for parameter '{parameter}': not valid text.") from None
    return tidy


def check_no_way_out(uri: str, *, parameter: str) -> str:
    """`uri`, of a place in somebody else's store, if no part of it leads up, in whatever encoding.

    Raises:
        InvalidParameterValue: a part is `..`, or it holds a control character.
    """
    for text in _readings(uri, parameter):
        if _leads_up(text) or _CONTROL.search(text):
            raise InvalidParameterValue(
                f"Invalid value {text[:80]!a} for parameter '{parameter}': '..' and control characters are not allowed."
            )
    return uri


def _readings(text: str, parameter: str) -> Iterator[str]:
    """`text` and what it decodes to, until nothing changes."""
    for _ in range(_MAX_DECODES):
        yield text
        decoded = unquote(text)
        if decoded == text:
            return
        text = decoded
    raise InvalidParameterValue(f"Invalid path for parameter '{parameter}': encoded too many times.")


def _leads_up(text: str) -> bool:
    # Blanks around it and a parameter behind it (`..;x`) are dropped by some file systems and servers.
    return any(part.partition(";")[0].strip() == ".." for part in _SEPARATOR.split(text))


def contain(root: Path, relative: str, *, parameter: str = "path") -> Path:
    """The path of `relative` below `root`, with every link resolved: the only join of a caller's path.

    Raises:
        InvalidParameterValue: `relative` is unsafe, or a link leads out of `root`.
    """
    plain = root / safe_relative_path(relative, parameter=parameter)
    try:
        if _passes_no_link(str(plain)):
            # That to the root included, as with nearly all.
            return plain
        base = root.resolve()
        target = (base / plain.relative_to(root)).resolve()
    except (OSError, RuntimeError, ValueError):
        raise InvalidParameterValue(f"Invalid path for parameter '{parameter}'.") from None
    if target != base and base not in target.parents:
        raise InvalidParameterValue(f"Invalid path for parameter '{parameter}': it leads out of the store.")
    return target


def _passes_no_link(path: str) -> bool:
    """Whether an absolute path leads where it says, as far as it is there: a quicker look than `Path.resolve`."""
    if not path.startswith("/") or "/.." in path:
        return False
    upto = ""
    try:
        for part in path[1:].split("/"):
            upto += f"/{part}"
            if S_ISLNK(os.lstat(upto).st_mode):
                return False
    except (FileNotFoundError, NotADirectoryError):
        # Nor does what is not there.
        return True
    return True
