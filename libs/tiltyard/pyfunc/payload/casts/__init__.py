"""Values of JSON and CSV, made into typed arrays without changing what they say."""

from typing import Any, Literal, TypeAlias

import numpy as np

Coerce: TypeAlias = Literal["strict", "lenient"]
Vector: TypeAlias = "np.ndarray[Any, Any]"


class Refused(Exception):
    """One value cannot be cast; says which row, -1 if none, and why."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row, self.why = row, why
