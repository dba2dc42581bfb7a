"""End of life: what was deleted longer ago than the retention is purged, rows and files; leftovers are found.

`collect` is the door. It works beside a running server, in small transactions, and may be killed at any moment:
what it has begun is marked in the database, so the next call goes on with it. What a registered version pins stays.
"""

from tiltyard_registry.gc.collect import Plan, collect
from tiltyard_registry.gc.report import Amount, Report

__all__ = ["Amount", "Plan", "Report", "collect"]
