"""The lines of a model's requirements file: which packages it needs, in which versions."""

from collections.abc import Sequence
from pathlib import Path

# Named by every model that MLflow saved, and not needed to run one.
_NOT_NEEDED = frozenset({"mlflow", "mlflow-skinny"})


def parse_requirements(lines: Sequence[str]) -> dict[str, str]:
    """Version specifiers by package, of those lines of a requirements file that name one and hold here."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    for line in lines:
        try:
            requirement = Requirement(line.partition(" #")[0].strip())
        except InvalidRequirement:
            # Options and paths of pip's own say nothing about versions.
            continue
        name = canonicalize_name(requirement.name)
        if name not in _NOT_NEEDED and (requirement.marker is None or requirement.marker.evaluate()):
            found[name] = str(requirement.specifier)
    return found


def requirements_file(directory: Path) -> list[str]:
    """The lines of a model's requirements file; none when it has no such file."""
    path = directory / "requirements.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
