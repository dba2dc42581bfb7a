"""What a caller says of a version that is to be registered."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class NewVersion(NamedTuple):
    """`source` leads to its files; a run or a logged model proves that the caller may use what belongs to it."""

    source: str
    run_id: str | None = None
    model_id: str | None = None
    description: str | None = None
    run_link: str | None = None
    tags: Sequence[Mapping[str, str]] = ()
