"""The size of pages of Unity Catalog's lists."""

from tiltyard.errors import InvalidParameterValue

MAX_PAGE = 100


def page_size(max_results: int) -> int:
    """How many to list. More than a page may hold is cut, not refused; 0 is the default.

    Raises:
        InvalidParameterValue: it is negative.
    """
    if max_results < 0:
        raise InvalidParameterValue("maxResults must be greater than or equal to 0")
    return min(max_results or MAX_PAGE, MAX_PAGE)
