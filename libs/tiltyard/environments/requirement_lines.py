"""The lines of a model's requirements with all that they name: of a file its content counts, not its name."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from tiltyard.errors import InvalidParameterValue
from tiltyard.uri import contain

MAX_FILE_BYTES = 1024 * 1024
MAX_LINES = 10_000
# How many files may name one another, one after the other.
MAX_DEPTH = 8

_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTION = re.compile(
    r"(?:(-r|--requirement|-c|--constraint|-e|--editable|-f|--find-links)(?:\s+|\s*=\s*)|-([rcef])(?=\S))(.+)"
)
_NAMED_FILE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?\s*@\s*)(file:.+)")
_ARCHIVE = re.compile(r"[^\s:@]+\.(whl|zip|tar\.gz|tar\.bz2|tgz)(\[[^\]]*\])?")
# What follows a path: extras, a marker, or options.
_PATH_END = re.compile(r"(\[[^\]]*\])?(\s+;.*|\s*;\s.*|\s+--.*)?$")
_MLFLOW = re.compile(r"mlflow(-skinny)?\b(?!-)", re.IGNORECASE)
_LONG = {"--requirement": "r", "--constraint": "c", "--editable": "e", "--find-links": "f"}


class _Line(NamedTuple):
    """A line as uv is to read it, and what tells it from others: for a file its content, wherever it lies."""

    text: str
    key: str


class RequirementLines:
    """What a model's requirements say, every file that they name read and known by its content."""

    def __init__(self, directory: Path, lines: Iterable[str]) -> None:
        """Reads `lines`, and the files they name in `directory`.

        Raises:
            InvalidParameterValue: they name a file that is not there or lies elsewhere, or are too many.
        """
        self._directory = directory.resolve()
        self._requirements: list[_Line] = []
        self._constraints: list[_Line] = []
        self._lines = 0
        self._read(lines, self._requirements, self._directory, 0)

    @property
    def requirements(self) -> list[str]:
        """The lines of one requirements file, with the paths of files absolute."""
        return [line.text for line in self._requirements]

    @property
    def constraints(self) -> list[str]:
        """The lines of one constraints file."""
        return [line.text for line in self._constraints]

    @property
    def names(self) -> set[str]:
        """The packages that are asked for, in lower case."""
        return {re.split(r"[^A-Za-z0-9._-]", line.text, maxsplit=1)[0].lower() for line in self._requirements}

    def add(self, lines: Iterable[str]) -> None:
        """Asks for more."""
        self._requirements += [_Line(line, line) for line in lines]

    def leave_out_mlflow(self) -> None:
        """Asks no more for what every model that MLflow saved names, and few need in order to run."""
        self._requirements = [line for line in self._requirements if not _MLFLOW.match(line.text)]

    @property
    def keys(self) -> tuple[list[str], list[str]]:
        """What tells these requirements, and these constraints, from all others."""
        return [line.key for line in self._requirements], [line.key for line in self._constraints]

    def are_met_by(self, version_of: Callable[[str], str | None]) -> bool:
        """Whether packages of these versions are all that is asked for."""
        return all(_is_met(line.text, version_of, needed=True) for line in self._requirements) and all(
            _is_met(line.text, version_of, needed=False) for line in self._constraints
        )

    def _read(self, lines: Iterable[str], into: list[_Line], folder: Path, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InvalidParameterValue(f"The model's requirements name one another more than {MAX_DEPTH} deep.")
        for line in _joined(lines):
            self._lines += 1
            if self._lines > MAX_LINES:
                raise InvalidParameterValue(f"The model's requirements have more than {MAX_LINES} lines.")
            found = _OPTION.fullmatch(line)
            kind = None if found is None else _LONG.get(found[1] or "", (found[1] or found[2] or "")[-1:])
            if found is None or kind is None:
                into.append(self._plain(line))
            elif kind in "rc":
                name = found[3].strip().strip("'\"")
                path = self._file(name, folder)
                target = self._constraints if kind == "c" else into
                self._read(read_text(path).splitlines(), target, path.parent, depth + 1)
            elif kind == "e":
                # Not as a link into a folder that may go before the environment does.
                into.append(self._plain(found[3].strip()))
            else:
                into.append(self._option("--find-links ", found[3].strip()))

    def _file(self, name: str, folder: Path) -> Path:
        relative = folder.relative_to(self._directory) / unquote(name.removeprefix("file:"))
        path = contain(self._directory, str(relative), parameter="requirements")
        if not path.is_file():
            raise InvalidParameterValue(
                f"The model's requirements name the file '{name[:80]}', which it does not hold."
            )
        return path

    def _plain(self, line: str) -> _Line:
        named = _NAMED_FILE.fullmatch(line)
        if named is not None:
            return self._option(named[1], named[2])
        begins = line.startswith(("./", "../", "/", "file:", ".")) or _ARCHIVE.match(line)
        return self._option("", line) if begins and "://" not in line.removeprefix("file://") else _Line(line, line)

    def _option(self, before: str, told: str) -> _Line:
        """A line that ends with a path, the path made absolute and known by what is there."""
        end = _PATH_END.search(told)
        rest = "" if end is None else told[end.start() :]
        name = told[: len(told) - len(rest)]
        if "://" in name.removeprefix("file://"):
            return _Line(before + told, before + told)
        bare = unquote(name.removeprefix("file://").removeprefix("file:")) if name.startswith("file:") else name
        path = Path(bare)
        if bare in (".", "./"):
            path = self._directory
        elif not path.is_absolute():
            path = contain(self._directory, bare.removeprefix("./"), parameter="requirements")
        if not path.exists():
            raise InvalidParameterValue(f"The model's requirements name '{name[:80]}', which it does not hold.")
        shown = path.resolve().as_uri() if "@" in before else str(path.resolve())
        known = path.name if path.is_file() else ""
        return _Line(f"{before}{shown}{rest}", f"{before}{known} {_content(path)}{rest}")


def read_text(path: Path) -> str:
    """A small text file of a model. Raises: InvalidParameterValue: it is large, or no text."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidParameterValue(f"The model's {path.name} is larger than {MAX_FILE_BYTES} bytes.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeError:
        raise InvalidParameterValue(f"The model's {path.name} is not text in UTF-8.") from None


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines without comments, those that a backslash continues in one."""
    begun = ""
    for told in lines:
        for line in told.splitlines():
            bare = _COMMENT.sub("", line).strip()
            begun += bare.removesuffix("\\")
            if bare.endswith("\\"):
                continue
            if begun.strip():
                yield begun.strip()
            begun = ""
    if begun.strip():
        yield begun.strip()


def _content(path: Path) -> str:
    """A digest over a file, or over all files of a folder with their names."""
    hashed = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file()):
        name = "" if file == path else file.relative_to(path).as_posix()
        with file.open("rb") as stored:
            hashed.update(f"{name}\0{hashlib.file_digest(stored, 'sha256').hexdigest()}\0".encode())
    return hashed.hexdigest()


def normal_name(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_met(line: str, version_of: Callable[[str], str | None], *, needed: bool) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        return False
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    here = version_of(normal_name(wanted.name))
    if here is None:
        return not needed
    return wanted.url is None and wanted.specifier.contains(here, prereleases=True)
