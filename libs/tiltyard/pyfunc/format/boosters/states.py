"""Boosters within pickles and skops files: what they restore themselves from is checked as a file of theirs is."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters import lightgbm_text, ubjson, xgboost_file
from tiltyard.pyfunc.format.boosters.catboost import file as catboost_file

_LIGHTGBM_TEXT = "tree\n"
_CATBOOST = ("CatBoost", "CatBoostClassifier", "CatBoostRanker", "CatBoostRegressor")


def checked_class(kind: type) -> type:
    """A class whose object looks at its state before it restores itself from it; `kind` where nothing is known of it.

    The object is one of `kind` from then on.
    """
    check = _CHECKS.get(f"{kind.__module__}.{kind.__qualname__}")
    if check is None:
        return kind

    def restore(self: Any, state: dict[str, Any]) -> None:
        check(state)
        self.__class__ = kind
        self.__setstate__(state)

    return type(kind.__name__, (kind,), {"__setstate__": restore, "__module__": kind.__module__})


def check_skops_file(path: Path) -> None:
    """Nothing, if all boosters in a skops file are sound: texts of LightGBM, and files of CatBoost.

    Raises:
        InvalidParameterValue: one is not.
    """
    with zipfile.ZipFile(path) as file:
        schema = json.loads(file.read("schema.json"))
        for name in file.namelist():
            with file.open(name) as member:
                start = member.read(len(catboost_file.MAGIC))
                if start == catboost_file.MAGIC:
                    catboost_file.check_catboost(start + member.read())
    for text in _texts(schema):
        if text.startswith(_LIGHTGBM_TEXT):
            lightgbm_text.check_text(text.encode("utf-8", "replace"))


def _texts(schema: Any) -> Iterator[str]:
    """The texts that the nodes of a skops file hold; each is JSON."""
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("__loader__") == "JsonNode" and isinstance(content := node.get("content"), str):
                try:
                    value = json.loads(content)
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, str):
                    yield value
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _check_lightgbm(state: dict[str, Any]) -> None:
    text = state.get("_handle", state.get("handle"))
    if isinstance(text, str):
        lightgbm_text.check_text(text.encode("utf-8", "replace"))


def _check_xgboost(state: dict[str, Any]) -> None:
    data = state.get("handle")
    if isinstance(data, bytes | bytearray) and data.startswith(b"{L"):
        try:
            model = ubjson.read(bytes(data))["Model"]
        except (LookupError, TypeError):
            raise InvalidParameterValue("The XGBoost model is damaged: a part of it is missing.") from None
        xgboost_file.check_model(model)


def _check_catboost(state: dict[str, Any]) -> None:
    data = state.get("__model")
    if isinstance(data, bytes | bytearray):
        catboost_file.check_catboost(bytes(data))


_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "lightgbm.basic.Booster": _check_lightgbm,
    "xgboost.core.Booster": _check_xgboost,
    **dict.fromkeys((f"catboost.core.{name}" for name in _CATBOOST), _check_catboost),
}
