"""How much one run and one experiment may hold; nothing is limited unless the operator says so."""

from typing import NamedTuple

from tiltyard.errors import ResourceLimitExceeded


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


UNLIMITED = Quotas()


def check_quota(noun: str, count: int, limit: int) -> None:
    """Passes if `count` of a noun such as 'params of a run' are not too many.

    Raises:
        ResourceLimitExceeded: they are; the message names both.
    """
    if count > limit:
        raise ResourceLimitExceeded(
            f"The limit on {noun} is {limit}; this request would make it {count}. "
            "Nothing of the request was stored. Ask the operator of this server for another limit."
        )
