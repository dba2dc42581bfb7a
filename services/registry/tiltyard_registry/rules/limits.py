"""How long and how many, in the registry; nothing is counted over a run or an experiment unless its operator says so.

Source: mlflow/utils/validation.py, tag v3.17.2, for tags; the others are ours, for the peer leaves them to its
database's column widths, whose overflow its clients see as a 500.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tiltyard.errors import InvalidParameterValue, ResourceLimitExceeded
from tiltyard_registry.rules.keys import check_key, check_length

MAX_TAG_VALUE_CHARS = 100_000
MAX_DESCRIPTION_CHARS = 65_535
MAX_SOURCE_CHARS = 2_048
MAX_RUN_LINK_CHARS = 2_048
MAX_RUN_ID_CHARS = 64
MAX_CHANGES = 1_000
MAX_REQUEST_ENTRIES = 1_000


def check_description(description: str | None) -> str | None:
    """`description`, the empty one as None.

    Raises:
        InvalidParameterValue: over 65,535 characters, or not text.
    """
    return check_length(description, MAX_DESCRIPTION_CHARS, "description") if description else None


def check_tag(key: str, value: str) -> None:
    """Passes a tag that a registered model or a version may carry.

    Raises:
        InvalidParameterValue: a key that `check_key` refuses, or a value over 100,000 characters.
    """
    check_key(key)
    check_length(value, MAX_TAG_VALUE_CHARS, "value")


def check_tags(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The tags of a create request, `{key, value}` each, by key; of a key that comes twice the last value stays."""
    checked: dict[str, str] = {}
    for tag in tags:
        check_tag(tag["key"], tag["value"])
        checked[tag["key"]] = tag["value"]
    return checked


def page_size(max_results: int | None, *, default: int, maximum: int, parameter: str = "max_results") -> int:
    """How many rows a page, or one call, shall have.

    Raises:
        InvalidParameterValue: below 1 or above `maximum`.
    """
    if max_results is None:
        return default
    if not 1 <= max_results <= maximum:
        raise InvalidParameterValue(
            f"Invalid value {str(max_results)[:40]} for parameter '{parameter}' supplied: "
            f"It must be a positive integer that is at most {maximum}."
        )
    return max_results


class Quotas(NamedTuple):
    """The most that may be there of each; None is without limit."""

    params: int | None = None
    """Of one run."""
    tags: int | None = None
    """Of one run; its name is one of them."""
    metric_points: int | None = None
    """Of one run, over all its metrics."""
    runs: int | None = None
    """Active ones, of one experiment."""
    request_entries: int = MAX_REQUEST_ENTRIES
    """Tags, params or dataset tags that one call brings; `log-batch` has bounds of its own."""


UNLIMITED = Quotas()


def check_quota(setting: str, noun: str, count: int, limit: int) -> None:
    """Passes if `count` of a noun such as 'params of a run' are not too many by the limit that a setting is.

    Raises:
        ResourceLimitExceeded: they are; the message names all of that.
    """
    if count > limit:
        raise ResourceLimitExceeded(
            f"The limit '{setting}' on {noun} is {limit}; this request would make it {count}. "
            "Nothing of the request was stored. Ask the operator of this server for another limit."
        )


def check_entries(quotas: Quotas, noun: str, count: int) -> None:
    """Passes if one call may bring so many of a noun such as 'tags'.

    Raises:
        InvalidParameterValue: they are too many; the message names the limit and what came.
    """
    if count > quotas.request_entries:
        raise InvalidParameterValue(
            f"Invalid value for parameter '{noun}': at most {quotas.request_entries} are allowed in one call, by the "
            f"limit 'max_request_entries', got {count}. Set the others in further calls."
        )
