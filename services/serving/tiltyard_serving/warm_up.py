"""The first predictions of a model, before it takes traffic: with its own input example."""

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from tiltyard.errors import TiltyardError
from tiltyard.pyfunc import PyFunc, output, payload
from tiltyard.pyfunc.payload import Payload
from tiltyard_serving.answers import TOLERANCE, TOLERANCE_FLOAT32, same_answer

EXAMPLE = "serving_input_example.json"
MAX_SINGLE_ROWS = 32

_log = logging.getLogger(__name__)


def warm_up(model: PyFunc, directory: Path, coerce: Literal["strict", "lenient"], *, compiled: bool) -> bool:
    """Predicts the input example, takes the shortest way to its answer, and says whether requests may be merged.

    That takes a model known to be row-wise whose answers to merged examples, and to its example row by row,
    are those to each alone.

    Raises:
        Exception: whatever the model raises for its own example.
    """
    example = _example(model, directory, coerce)
    if example is None:
        model.take_shortcut(None, compiled=compiled)
        return model.row_wise
    data = payload.to_input([example], model.signature)
    alone = model.predict_enforced(data, example.params)
    model.take_shortcut(data, compiled=compiled)
    if not model.row_wise:
        return False
    if _agrees_merged(model, example, alone) and _agrees_by_row(model, data, example, alone):
        return True
    _log.warning("the answers to merged examples differ from those to single ones: requests are not merged")
    return False


def _example(model: PyFunc, directory: Path, coerce: Literal["strict", "lenient"]) -> Payload | None:
    """The example as the payload of a request, or None when there is none that a request could carry."""
    path = directory / EXAMPLE
    if not path.is_file():
        return None
    try:
        return payload.decode(path.read_bytes(), "application/json", model.signature, coerce=coerce)
    except TiltyardError as error:
        _log.warning("the model's input example is no valid request, it is not used to warm up: %s", error.message)
        return None


def _agrees_merged(model: PyFunc, example: Payload, alone: Any) -> bool:
    if example.merge_key is None or not example.rows:
        return True
    copies = 3
    merged = model.predict_enforced(model.to_input([example] * copies), None)
    parts = output.split(merged, [example.rows] * copies)
    return parts is not None and all(_equal(part, alone) for part in parts)


def _agrees_by_row(model: PyFunc, data: Any, example: Payload, alone: Any) -> bool:
    if example.rows < 2 or not isinstance(data, np.ndarray | pd.DataFrame):
        return True
    expected = output.split(alone, [1] * example.rows)
    if expected is None:
        return False
    rows = data.iloc if isinstance(data, pd.DataFrame) else data
    return all(
        _equal(model.predict_enforced(rows[number : number + 1], example.params), expected[number])
        for number in range(min(example.rows, MAX_SINGLE_ROWS))
    )


def _equal(one: Any, other: Any) -> bool:
    """Whether two outputs say the same to a caller."""
    narrow = any(str(getattr(value, "dtype", "")) in ("float32", "float16") for value in (one, other))
    return same_answer(output.encode(one), output.encode(other), TOLERANCE_FLOAT32 if narrow else TOLERANCE)
