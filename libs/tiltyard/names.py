"""What a model, an alias and a version may be called.

Canonical names have three parts, `catalog.schema.model`. A one-part name is the model of that name in
`workspace.default`; callers that used the short name get the short name back.
"""

import re
import unicodedata
from typing import NamedTuple

from tiltyard.errors import InvalidParameterValue

DEFAULT_CATALOG = "workspace"
DEFAULT_SCHEMA = "default"
BUILT_IN_SCHEMAS = (("main", DEFAULT_SCHEMA), (DEFAULT_CATALOG, DEFAULT_SCHEMA))

MAX_PART_CHARS = 255
MAX_ALIAS_CHARS = 255
MAX_VERSION = 2**31 - 1

_ALIAS = re.compile(r"[\w\-]+")
_VERSION_ALIAS = re.compile(r"[vV]\d+")
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[A-Za-z]")
# Cyrillic and Greek letters that are drawn as Latin ones are.
_LOOKS_LATIN = re.compile(
    "[\u0405\u0406\u0408\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04bb\u04cf\u0501\u051b\u051d"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf\u03f2]"
)
# Blank or without a shape of their own, whatever their category says: fillers, joiners, variation selectors.
_HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_RESERVED = frozenset({"latest", "none", "staging", "production", "archived"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ModelName(NamedTuple):
    """A registered model's full name."""

    catalog: str
    schema: str
    model: str

    @property
    def full(self) -> str:
        """`catalog.schema.model`."""
        return f"{self.catalog}.{self.schema}.{self.model}"

    @property
    def shown(self) -> str:
        """The name as the MLflow API shows it: short for models of `workspace.default`."""
        if (self.catalog, self.schema) == (DEFAULT_CATALOG, DEFAULT_SCHEMA):
            return self.model
        return self.full


def parse_model_name(text: str, *, parameter: str = "name") -> ModelName:
    """The three parts of a model name.

    Raises:
        InvalidParameterValue: blank, two or more than three parts, or a part that `check_part` refuses.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidParameterValue(f"Registered model name cannot be empty (parameter '{parameter}').")
    parts = text.split(".")
    if len(parts) == 1:
        parts = [DEFAULT_CATALOG, DEFAULT_SCHEMA, text]
    if len(parts) != 3:
        raise InvalidParameterValue(
            f"Invalid model name '{text[:300]}' for parameter '{parameter}': expected one part ('model') "
            f"or three ('catalog.schema.model'), got {len(parts)} parts."
        )
    return ModelName(*(check_part(part, parameter=parameter) for part in parts))


def check_part(text: str, *, parameter: str) -> str:
    """`text` if it may be the name of a catalog, a schema or a model.

    Raises:
        InvalidParameterValue: it is blank, padded with spaces, longer than 255 characters, or has `/`, `\\`,
            `:`, `.` or a control character.
    """
    shown = text[:80]
    if not text or text != text.strip():
        raise InvalidParameterValue(
            f"Invalid name '{shown}' for parameter '{parameter}': each part must be non-empty, "
            "without spaces at its ends."
        )
    if len(text) > MAX_PART_CHARS:
        raise InvalidParameterValue(
            f"Invalid name '{shown}…' for parameter '{parameter}': {len(text)} characters, "
            f"at most {MAX_PART_CHARS} are allowed in one part."
        )
    if any(char in text for char in "/:.\\") or _CONTROL.search(text):
        raise InvalidParameterValue(
            f"Invalid name '{shown}' for parameter '{parameter}': '/', '\\', ':', '.' and control characters "
            "are not allowed within a part."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParameterValue(
            f"Invalid name for parameter '{parameter}': it holds a lone surrogate, which is not text."
        ) from None
    return text


def check_new_name(text: str, *, parameter: str) -> str:
    """`text` if people can tell it from other names: what they approve is what they read.

    For new names alone: what has such a name already can still be found, renamed and deleted.

    Raises:
        InvalidParameterValue: it holds characters that are not seen or turn the text round, is not in the normal form
            NFC, or mixes Latin letters with others that look the same.
    """
    hidden = next((char for char in text if _is_hidden(char)), None)
    if hidden is not None:
        raise InvalidParameterValue(
            f"Invalid name for parameter '{parameter}': it holds the character U+{ord(hidden):04X}, which is not seen."
        )
    if not unicodedata.is_normalized("NFC", text):
        raise InvalidParameterValue(
            f"Invalid name '{text[:80]}' for parameter '{parameter}': it is not in the Unicode normal form NFC, "
            "so that it looks like another name."
        )
    for word in _WORD.findall(text):
        if _LATIN.search(word) and (alike := _LOOKS_LATIN.search(word)):
            raise InvalidParameterValue(
                f"Invalid name '{text[:80]}' for parameter '{parameter}': '{alike[0]}' (U+{ord(alike[0]):04X}) looks "
                "like a Latin letter beside it, and is none."
            )
    return text


def _is_hidden(char: str) -> bool:
    if char.isascii():
        return False
    return unicodedata.category(char) in {"Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp"} or bool(_HIDDEN.match(char))


def check_new_alias(alias: str) -> str:
    """`alias` if it may be set from now on.

    Raises:
        InvalidParameterValue: as `check_alias` and `check_new_name`, or it looks like 'latest', a version or a stage
            in letters of another width.
    """
    check_new_name(check_alias(alias), parameter="alias")
    plain = unicodedata.normalize("NFKC", alias)
    if plain != alias and (plain.lower() in _RESERVED or _VERSION_ALIAS.fullmatch(plain)):
        raise InvalidParameterValue(f"Invalid alias name: '{alias[:80]}' looks like '{plain[:80]}', and is not.")
    return alias


def check_alias(alias: str) -> str:
    """`alias` if it may be set. Source: mlflow/utils/validation.py, `_validate_model_alias_name`.

    Raises:
        InvalidParameterValue: empty, over 255 characters, other than word characters and `-`, or reserved
            (`latest` in any case, `v1` and the like).
    """
    if not alias or not _ALIAS.fullmatch(alias):
        raise InvalidParameterValue(
            f"Invalid alias name: '{alias[:80]}'. An alias may only hold letters, digits, '_' and '-', "
            "and may not be empty."
        )
    if len(alias) > MAX_ALIAS_CHARS:
        raise InvalidParameterValue(
            f"Invalid alias name: {len(alias)} characters, at most {MAX_ALIAS_CHARS} are allowed."
        )
    if is_latest(alias):
        raise InvalidParameterValue("'latest' alias name (case insensitive) is reserved.")
    if _VERSION_ALIAS.fullmatch(alias):
        raise InvalidParameterValue(f"Version alias name '{alias}' is reserved.")
    return alias


def is_latest(alias: str) -> bool:
    """Whether this is the word for the highest version, which no alias can be."""
    return alias.lower() == "latest"


def check_version(version: str | int) -> int:
    """The version number that `version` spells.

    Raises:
        InvalidParameterValue: it is not a decimal integer.
    """
    text = str(version)
    if isinstance(version, bool) or not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise InvalidParameterValue(f"Parameter 'version' must be an integer, got '{text[:80]}'.")
    # A number no model can have is absent (404), not malformed; 0 never exists.
    number = int(text)
    return number if 0 < number <= MAX_VERSION else 0
