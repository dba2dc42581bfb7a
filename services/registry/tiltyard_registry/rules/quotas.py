"""How much one run and one experiment may hold; nothing is limited unless the operator says so."""

from typing import NamedTuple

from tiltyard.errors import InvalidParameterValue, ResourceLimitExceeded

MAX_REQUEST_ENTRIES = 1000


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
