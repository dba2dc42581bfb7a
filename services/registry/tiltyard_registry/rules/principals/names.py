"""What principals may be called, and which there are without anybody's doing."""

import re
from enum import StrEnum

from tiltyard.errors import InvalidParameterValue

EVERYONE = "everyone"
"""The group that every caller is in who is known."""

RESERVED = frozenset({EVERYONE, "anonymous", "system"})
"""Names that mean somebody already, or the absence of anybody."""

_MAX_CHARS = 255
# No colon, for Basic credentials end a name with one; no slash, for names are parts of paths.
_NAME = re.compile(r"[^\s/:,\x00-\x1f\x7f](?:[^/:,\x00-\x1f\x7f]*[^\s/:,\x00-\x1f\x7f])?")


class PrincipalKind(StrEnum):
    """What a principal is. The texts are stored."""

    USER = "user"
    SERVICE = "service"
    GROUP = "group"


def check_new_principal(kind: str, name: str) -> PrincipalKind:
    """The kind of a new principal, if it may be called that.

    Raises:
        InvalidParameterValue: there is no such kind, or nobody can have this name.
    """
    if kind not in set(PrincipalKind):
        raise InvalidParameterValue(
            f"Invalid value {kind[:40]!a} for parameter 'kind': expected one of {', '.join(PrincipalKind)}."
        )
    if name in RESERVED:
        raise InvalidParameterValue(f"Invalid value '{name}' for parameter 'name': the name is reserved.")
    if len(name) > _MAX_CHARS or name in (".", "..") or not _NAME.fullmatch(name):
        raise InvalidParameterValue(
            f"Invalid value {name[:80]!a} for parameter 'name': expected 1 to {_MAX_CHARS} characters without '/', "
            "':', ',' and control characters, and no blank at either end."
        )
    return PrincipalKind(kind)
