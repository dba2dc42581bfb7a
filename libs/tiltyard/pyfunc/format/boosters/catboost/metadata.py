"""What a CatBoost model says of itself: texts by name, some of them JSON, which CatBoost reads when it loads."""

import json
import re

import numpy as np

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Tables

_CLASSES = (b"class_params", b"multiclass_params")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[^\[\]{}]+")

_MAX_NAMES = 1_000_000
_MAX_CLASSES = 1 << 16
# CatBoost goes down into JSON by recursion.
_MAX_DEPTH = 1000


def check_metadata(metadata: Tables, dimension: int) -> None:
    """Nothing, if no JSON is too deep, and if the classes of predictions of this length are classes that there are.

    Raises:
        InvalidParameterValue: they are not.
    """
    if len(metadata) > _MAX_NAMES:
        raise InvalidParameterValue("The model holds too many texts.")
    for name, text in zip(metadata.texts(0), metadata.texts(1), strict=True):
        if _depth(text) > _MAX_DEPTH:
            raise InvalidParameterValue("The model holds JSON that is nested too deeply.")
        if name in _CLASSES:
            _check_classes(text, dimension)


def _depth(text: bytes) -> int:
    """How many brackets are open at once, at most."""
    brackets = np.frombuffer(_BRACKETS.sub(b"", _TEXT.sub(b"", text)), np.uint8)
    # Of each pair, the one that opens has the smaller code by two, and the pairs are 32 apart.
    return int(np.cumsum(np.where(brackets % 32 == ord("[") % 32, 1, -1)).max(initial=0))


def _check_classes(text: bytes, dimension: int) -> None:
    """CatBoost writes the values of each class to the place that `class_to_label` tells, beyond the last one too."""
    try:
        classes = json.loads(text.decode(errors="replace"), object_pairs_hook=_once, strict=False)
        count = classes.get("classes_count", 0)
        known = max(count, len(classes.get("class_names", ())))
        places = [int(place) for place in classes["class_to_label"]]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise InvalidParameterValue("The model's classes cannot be read.") from None
    if known > _MAX_CLASSES or (dimension > 1 and known > 0 and not all(0 <= place < known for place in places)):
        raise InvalidParameterValue("The model holds a class that is out of range.")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)
