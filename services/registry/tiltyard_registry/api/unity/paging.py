"""Pages of Unity Catalog's lists."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search import PageToken

MAX_PAGE = 100

Listed = TypeVar("Listed", bound=Mapping[str, Any])


def page_size(max_results: int) -> int:
    """How many to list. More than a page may hold is cut, not refused; 0 is the default.

    Raises:
        InvalidParameterValue: it is negative.
    """
    if max_results < 0:
        raise InvalidParameterValue("maxResults must be greater than or equal to 0")
    return min(max_results or MAX_PAGE, MAX_PAGE)


def position_of(page_token: str | None, listing: str, kind: type[str] | type[int] = str) -> str | int:
    """Behind which name or number the page begins.

    Raises:
        InvalidParameterValue: the token is of another listing, or none at all.
    """
    if not page_token:
        return kind()
    position = PageToken.decode(page_token, query=listing, columns=[kind])
    return cast(tuple[str | int], position)[0]


def cut(rows: Sequence[Listed], limit: int, listing: str, key: str = "name") -> tuple[Sequence[Listed], str | None]:
    """At most `limit` of the rows, and the token of the next page when there are more."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], PageToken.encode((rows[limit - 1][key],), query=listing)
