"""What a registered model of an MLflow server is called here, when its name may not be kept."""

import re
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

from tiltyard.errors import InvalidParameterValue
from tiltyard.names import MAX_PART_CHARS, parse_model_name

RULE = (
    "Names of one part ('model') or three ('catalog.schema.model') are kept. In any other, '.', '\\' and control "
    "characters become '_', blanks at the ends go, and it is cut at 255 characters; if that is another model's name, "
    "'_' and the first 8 hex digits of the SHA-256 of the old name are added."
)

_NOT_IN_A_PART = re.compile(r"[./:\\\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DIGITS = 8


def renamed(names: Iterable[str]) -> dict[str, str]:
    """What each model is called here. The same names give the same answer, in whatever order they come."""
    kept: dict[str, str] = {}
    other: dict[str, str] = {}
    shown_names: set[str] = set()
    # A full name and the short one of the same model are one name here: the short one has the right to it.
    for name in sorted(names, key=lambda name: (name.count("."), name)):
        shown = _shown(name)
        if shown is not None and shown not in shown_names:
            kept[name] = shown
            shown_names.add(shown)
        else:
            other[name] = _NOT_IN_A_PART.sub("_", name).strip()[:MAX_PART_CHARS].strip() or "_"
    taken = Counter([*kept.values(), *other.values()])
    for name, part in other.items():
        other[name] = part if taken[part] == 1 else _with_digits(name, part)
    return kept | other


def _shown(name: str) -> str | None:
    try:
        return parse_model_name(name).shown
    except InvalidParameterValue:
        return None


def _with_digits(name: str, part: str) -> str:
    digits = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{part[: MAX_PART_CHARS - _DIGITS - 1].strip()}_{digits}"
