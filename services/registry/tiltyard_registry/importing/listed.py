"""Lists of what is in the way, in messages."""

from collections.abc import Sequence

_MOST_SHOWN = 20


def listed(found: Sequence[str]) -> str:
    """What was found, a line each; of very much only the first."""
    more = f"\n  … and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return "\n  ".join(found[:_MOST_SHOWN]) + more
