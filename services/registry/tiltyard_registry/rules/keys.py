"""What the key of a metric, a param or a tag may be, and what both databases can hold.

Source: mlflow/utils/validation.py, tag v3.17.2.
"""

import json
import posixpath
import re
from functools import lru_cache

from tiltyard.errors import InvalidParameterValue

MAX_ECHO_CHARS = 100
MAX_KEY_CHARS = 250
MAX_INT64 = 2**63 - 1
SEE_DOCS = "See the API docs for more information about request parameters."

_KEY = re.compile(r"[/\w.\- :]*")


def check_key(key: str, *, parameter: str = "key", noun: str | None = None) -> str:
    """`key` if it may be used. `noun` names it in the message about its length ('Param key').

    Raises:
        InvalidParameterValue: empty, too long, a character other than word characters and `/ . - :` and space,
            or it would mean another path when read as one.
    """
    if not key:
        raise missing(parameter)
    reason = (_reason_against if len(key) <= MAX_KEY_CHARS else _reason_against.__wrapped__)(key)
    if reason:
        shown = json.dumps(key[:MAX_KEY_CHARS], ensure_ascii=False).encode(errors="replace").decode()
        raise InvalidParameterValue(f"Invalid value {shown} for parameter '{parameter}' supplied: {reason}")
    return check_length(key, MAX_KEY_CHARS, noun or parameter)


# A run's keys come again with every batch. Long ones are not kept: they are refused soon after.
@lru_cache(maxsize=4096)
def _reason_against(key: str) -> str:
    """What is wrong with the characters of `key`, or nothing."""
    if not _KEY.fullmatch(key):
        return (
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), "
            "colon(:) and slashes (/)."
        )
    resolved = posixpath.normpath(key)
    if resolved != key or key == "." or key.startswith(("..", "/")):
        return (
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as "
            f"such. This name would resolve to '{resolved[:MAX_KEY_CHARS]}'"
        )
    return ""


def missing(parameter: str) -> InvalidParameterValue:
    """The error that says that a parameter has no value."""
    return InvalidParameterValue(f"Missing value for required parameter '{parameter}'. {SEE_DOCS}")


def brief(value: str) -> str:
    """`value` as an error repeats it: enough to know it again, and no more than that."""
    return value if len(value) <= MAX_ECHO_CHARS else f"{value[:MAX_ECHO_CHARS]}…"


def check_length(value: str, max_chars: int, parameter: str) -> str:
    """`value` if it is text that both databases can hold, no longer than `max_chars`.

    Raises:
        InvalidParameterValue: too long, or it holds a NUL or a lone surrogate.
    """
    if len(value) > max_chars:
        raise InvalidParameterValue(f"'{parameter}' exceeds the maximum length of {max_chars} characters")
    if "\0" in value:
        raise InvalidParameterValue(f"Invalid value for parameter '{parameter}': it holds a NUL character.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidParameterValue(
                f"Invalid value for parameter '{parameter}': it holds a lone surrogate, which is not text."
            ) from None
    return value


def check_int64(value: int, *, parameter: str) -> int:
    """`value` if it fits 64 bits with a sign.

    Raises:
        InvalidParameterValue: it does not.
    """
    if not -MAX_INT64 - 1 <= value <= MAX_INT64:
        raise InvalidParameterValue(
            f"Invalid value {str(value)[:80]} for parameter '{parameter}' supplied: over 64 bits."
        )
    return value
