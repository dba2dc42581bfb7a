"""Whether requests for a model may be merged: its answers to merged rows must be those to each row alone.

A model that is said to be row-wise has to prove it when it is loaded, with its example and with generated rows. What
was proven is kept as the layout of its outputs, by which each merged output is taken apart.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tiltyard.pyfunc import PyFunc
from tiltyard.pyfunc.payload import output
from tiltyard.pyfunc.payload.decoder import Payload
from tiltyard_serving.warm_up.answer_comparison import TOLERANCE, TOLERANCE_FLOAT32, same_answer
from tiltyard_serving.warm_up.generated_rows import generated
from tiltyard_serving.warm_up.layout import Layout, cut, layout_of

MAX_SINGLE_ROWS = 32

# So many copies of an example are merged. Two numbers of rows, because one of them may be that of something else.
_COPIES = (2, 3)

_log = logging.getLogger(__name__)


class _Differs(Exception):
    """Merged rows do not have the answers that they have alone; says what was seen."""


def prove(model: PyFunc, example: Payload | None) -> Layout | None:
    """The layout of the outputs of a row-wise model; None if its requests must not be merged.

    Args:
        example: the payload of an example that the model answers.
    """
    if not model.row_wise:
        return None
    layout: Layout | None = None
    try:
        if example is not None:
            layout = _by_example(model, example)
        for payloads in generated(model):
            layout = _by_payloads(model, payloads, layout)
    except _Differs as why:
        _log.warning("%s: requests are not merged", why)
        return None
    except Exception as error:
        # Answers that cannot be written, for one.
        _log.warning("the answers to merged rows cannot be compared: requests are not merged", exc_info=error)
        return None
    if layout is None:
        _log.info("no example and no generated rows that the model answers show it row by row: requests are not merged")
    return layout


def _by_example(model: PyFunc, example: Payload) -> Layout | None:
    """What the example shows of the layout; None if it can show nothing. Raises: _Differs."""
    data = model.to_input([example])
    alone = model.predict_enforced(data, example.params)
    layout: Layout | None = None
    if example.merge_key is not None and example.rows:
        for copies in _COPIES:
            layout = _compared(model, [example] * copies, [alone] * copies, layout)
    if example.rows > 1 and isinstance(data, np.ndarray | pd.DataFrame):
        rows = data.iloc if isinstance(data, pd.DataFrame) else data
        if layout_of(alone, example.rows) is None:
            raise _Differs("the answer to the example has not one part for each of its rows")
        for number, expected in enumerate(cut(alone, [1] * example.rows)[:MAX_SINGLE_ROWS]):
            if not _equal(model.predict_enforced(rows[number : number + 1], example.params), expected):
                raise _Differs("the answers to the rows of the example differ from those to single ones")
    return layout


def _by_payloads(model: PyFunc, payloads: Sequence[Payload], layout: Layout | None) -> Layout | None:
    """The layout that generated rows show too; as it was if the model does not answer them. Raises: _Differs."""
    try:
        alone = [_answered(model, [payload]) for payload in payloads]
    except Exception as error:
        _log.debug("the model does not answer generated rows", exc_info=error)
        return layout
    for end in (2, 3, len(payloads)):
        layout = _compared(model, payloads[:end], alone[:end], layout)
    return layout


def _compared(model: PyFunc, payloads: Sequence[Payload], alone: Sequence[Any], known: Layout | None) -> Layout:
    """The layout of merged and single answers, which are the same. Raises: _Differs."""
    counts = [payload.rows for payload in payloads]
    try:
        merged = _answered(model, payloads)
    except Exception as error:
        raise _Differs(f"merged rows failed ({type(error).__name__}), which single ones do not") from error
    layout = layout_of(merged, sum(counts))
    for answer, rows in zip(alone, counts, strict=True):
        layout = layout and layout.joined(layout_of(answer, rows))
    if layout is not None and known is not None:
        layout = layout.joined(known)
    if layout is None:
        raise _Differs("the answers do not hold one part for each row, of one form")
    if not all(_equal(part, answer) for part, answer in zip(cut(merged, counts), alone, strict=True)):
        raise _Differs("the answers to merged rows differ from those to single ones")
    return layout


def _answered(model: PyFunc, payloads: Sequence[Payload]) -> Any:
    return model.predict_enforced(model.to_input(payloads), None)


def _equal(one: Any, other: Any) -> bool:
    """Whether two outputs say the same to a caller."""
    dtypes = list(one.dtypes) if isinstance(one, pd.DataFrame) else [getattr(one, "dtype", "")]
    is_narrow = any(str(dtype) in ("float32", "float16") for dtype in dtypes)
    return same_answer(output.encode(one), output.encode(other), TOLERANCE_FLOAT32 if is_narrow else TOLERANCE)
