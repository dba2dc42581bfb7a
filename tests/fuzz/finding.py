"""What must not be, by its kind."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# What is shown first; anything else comes after, in the order of its name.
_WORST = ("crash", "stall", "stuck", "memory", "5xx", "late", "no answer")
# Each of these is told: there is a case of its own to send again.
_ALL_TOLD = ("crash", "stall", "unsent")
_TOLD = 10


class Finding(NamedTuple):
    """One of them: its kind, which is counted, and what was seen."""

    kind: str
    what: str


def told(findings: Iterable[Finding]) -> Iterator[str]:
    """Lines: how many there are of each kind, and then those of each, the worst first: each once, many in part."""
    findings = list(findings)
    counts = Counter(finding.kind for finding in findings)
    kinds = sorted(counts, key=lambda kind: (_WORST.index(kind) if kind in _WORST else len(_WORST), kind))
    yield f"{len(findings)} findings{':' if findings else ''}"
    for kind in kinds:
        yield f"  {counts[kind]:5} {kind}"
    for kind in kinds:
        each = list(dict.fromkeys(finding.what for finding in findings if finding.kind == kind))
        shown = each if kind in _ALL_TOLD else each[:_TOLD]
        yield from (f"WRONG {kind}: {what}" for what in shown)
        if len(each) > len(shown):
            yield f"  and {len(each) - len(shown)} others like these"
