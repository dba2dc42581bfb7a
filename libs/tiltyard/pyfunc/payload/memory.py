"""How much memory the data of a body take once it is decoded."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.payload.bounds import JSON_SEPARATORS, values_in

# What a value takes as an object of Python's, be it a text, a list or an object with its keys.
OBJECT_BYTES = 100
# Of a body of so many bytes it is not worth counting.
_SMALL_BYTES = 64 * 1024


def memory_bytes(data: Any, body: Body) -> int:
    """About how many bytes a payload's data take.

    Arrays and tables say it; how much Python's objects take is told from how many values the JSON text has.
    """
    if isinstance(data, pd.DataFrame):
        kinds = data.dtypes
        return len(data) * sum(OBJECT_BYTES if kind.kind == "O" else getattr(kind, "itemsize", 8) for kind in kinds)
    size_bytes = 0
    for array in _arrays(data):
        if isinstance(array, np.ndarray) and not array.dtype.hasobject:
            size_bytes += array.nbytes
        else:
            return OBJECT_BYTES * sum(values_in(body, JSON_SEPARATORS)) if len(body) > _SMALL_BYTES else 0
    return size_bytes


def _arrays(data: Any) -> Iterable[Any]:
    """The arrays that data consist of, if they are arrays."""
    if isinstance(data, dict):
        return data.values()
    return data if isinstance(data, list) else [data]
