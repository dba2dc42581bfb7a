"""What a CatBoost model says of itself: texts by name, some of them JSON, which CatBoost reads and follows."""

import json
import re

import numpy as np

from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Tables, damaged

_PARAMETERS = b"params"
_CLASSES = (b"class_params", b"multiclass_params")
# With such a loss CatBoost takes two outputs for granted.
_TWO_OUTPUTS = "RMSEWithUncertainty"
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = re.compile(rb"[^\[\]{}]+")

_MAX_NAMES = 1_000_000
# CatBoost makes room for as many classes as are known, in each answer.
_MAX_CLASSES = 1 << 12
# CatBoost goes down into JSON by recursion.
_MAX_DEPTH = 200


def check_metadata(metadata: Tables, outputs: int) -> None:
    """Nothing, if no JSON is too deep, and if the loss and the classes are such of a model of so many outputs.

    Raises:
        InvalidParameterValue: they are not.
    """
    if len(metadata) > _MAX_NAMES:
        raise damaged("it holds too many texts")
    for name, text in zip(metadata.texts(0), metadata.texts(1), strict=True):
        if _depth(text) > _MAX_DEPTH:
            raise damaged("its JSON is nested too deeply")
        if name in _CLASSES:
            _check_classes(text, outputs)
        if name == _PARAMETERS and outputs < 2:
            _check_loss(text)


def _depth(text: bytes) -> int:
    """How many brackets are open at once, at most."""
    brackets = np.frombuffer(_NO_BRACKETS.sub(b"", _TEXT.sub(b"", text)), np.uint8)
    # Both brackets that open have the same lower bits.
    return int(np.cumsum(np.where(brackets % 32 == ord("[") % 32, 1, -1)).max(initial=0))


def _check_classes(text: bytes, outputs: int) -> None:
    """CatBoost writes the values of each class to the place that `class_to_label` tells, beyond the last one too."""
    try:
        classes = json.loads(text.decode(errors="replace"), object_pairs_hook=_once, strict=False)
        count, names = classes.get("classes_count", 0), classes.get("class_names", [])
        # CatBoost has them in single precision, which may round a number up.
        places = [int(np.float32(place)) for place in classes["class_to_label"]]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise damaged("its classes cannot be read") from None
    if type(count) is not int or not isinstance(names, list):
        raise damaged("its classes cannot be read")
    known = max(count, len(names))
    if known > max(outputs, _MAX_CLASSES) or (
        outputs > 1 and known > 0 and not all(0 <= place < known for place in places)
    ):
        raise damaged("a class is out of range")


def _check_loss(text: bytes) -> None:
    try:
        # CatBoost's Python reads on to the first zero.
        parameters = json.loads(text.partition(b"\0")[0].decode(errors="replace"))
    except ValueError:
        return
    if _TWO_OUTPUTS in json.dumps(parameters):
        raise damaged("it has one output, and a loss of two")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)
