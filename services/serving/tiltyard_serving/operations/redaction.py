"""Requests and answers as JSON without the values of some columns.

What is kept is built anew from what the request was read as: a key that its parser ignores is not kept, and no key
decides how the others are understood. What cannot be told apart by names is left out.
"""

from typing import Any

import msgspec

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_TENSOR = ("name", "shape", "datatype", "data")
# Shorter texts and smaller numbers are in many answers by chance.
_TELLING_CHARS = 4
_TELLING_NUMBER = 1000
# With more than these, only texts that are one of them as a whole are found: each text would be searched for each.
_SEARCHED_TEXTS = 100

_UNREADABLE = (msgspec.MsgspecError, UnicodeError, ValueError, TypeError, KeyError, IndexError, RecursionError)


class Redaction:
    """Takes the values of `columns` out of one request, and out of its answer, also where that repeats them."""

    def __init__(self, columns: frozenset[str]) -> None:
        self._columns = columns
        self._texts: set[str] = set()
        self._numbers: set[float] = set()

    def request(self, body: bytes | None) -> bytes | None:
        """The request with null for those values, and without its params; None if it does not name its columns."""
        return None if body is None else self._written(body, self._request)

    def answer(self, body: bytes | None) -> bytes | None:
        """The answer with null for those values and for what the request had in them; None if it is no JSON."""
        return None if body is None else self._written(body, self._answer)

    def _written(self, body: bytes, build: Any) -> bytes | None:
        try:
            content = msgspec.json.decode(body)
            kept = build(content) if isinstance(content, dict) else None
            return None if kept is None else msgspec.json.encode(kept)
        except _UNREADABLE:
            return None

    def _request(self, content: dict[str, Any]) -> dict[str, Any] | None:
        forms = [form for form in _FORMS if form in content]
        if len(forms) != 1:
            return None
        (form,) = forms
        value = content[form]
        kept: Any
        if form == "dataframe_split":
            kept = self._split(value)
        elif form == "inputs" and _are_tensors(value):
            kept = self._tensors(value)
        elif isinstance(value, dict) or (isinstance(value, list) and all(isinstance(row, dict) for row in value)):
            kept = self._without(value)
        else:
            kept = None
        return None if kept is None else {form: kept}

    def _answer(self, content: dict[str, Any]) -> dict[str, Any] | None:
        if "predictions" in content:
            return {"predictions": self._unrepeated(self._without(content["predictions"]))}
        outputs = self._tensors(content["outputs"]) if _are_tensors(content.get("outputs")) else None
        if outputs is None:
            return None
        about: dict[str, Any] = {name: content[name] for name in ("model_name", "model_version") if name in content}
        return {**about, "outputs": self._unrepeated(outputs)}

    def _split(self, value: Any) -> dict[str, Any] | None:
        """Columns and rows; row labels have no name by which they could be told."""
        names = value.get("columns")
        if names is None and not all(isinstance(row, dict) for row in value["data"]):
            return None
        rows = []
        for row in value["data"]:
            if isinstance(row, dict):
                rows.append(self._without(row))
            elif isinstance(row, list) and len(row) == len(names):
                rows.append([self._cell(name, cell) for name, cell in zip(names, row, strict=True)])
            else:
                return None
        return {"columns": names, "data": rows} if names is not None else {"data": rows}

    def _tensors(self, tensors: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        """The tensors; None if one may hold several columns."""
        kept = []
        for tensor in tensors:
            one = {key: tensor[key] for key in _TENSOR if key in tensor}
            if one["name"] in self._columns:
                self._hide(one.get("data"))
                one["data"] = None
            elif one.get("data") is not None and len(one["shape"]) > 1 and one["shape"][1:] != [1]:
                return None
            kept.append(one)
        return kept

    def _without(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._cell(name, item) for name, item in value.items()}
        return [self._without(item) for item in value] if isinstance(value, list) else value

    def _cell(self, name: Any, value: Any) -> Any:
        if str(name) not in self._columns:
            return self._without(value)
        self._hide(value)
        return None

    def _hide(self, value: Any) -> None:
        """Notes what was taken out, to know it again in the answer."""
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                self._hide(item)
        elif isinstance(value, str) and len(value) >= _TELLING_CHARS:
            self._texts.add(value)
        elif isinstance(value, int | float) and abs(value) >= _TELLING_NUMBER:
            self._numbers.add(value)

    def _unrepeated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._unrepeated(item) for name, item in value.items() if not self._repeats(name)}
        if isinstance(value, list):
            return [self._unrepeated(item) for item in value]
        return None if self._repeats(value) else value

    def _repeats(self, value: Any) -> bool:
        if isinstance(value, str):
            few = len(self._texts) <= _SEARCHED_TEXTS
            return value in self._texts or (few and any(text in value for text in self._texts))
        return isinstance(value, int | float) and value in self._numbers


def _are_tensors(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and {"name", "datatype", "shape"} <= one.keys() for one in value)
    )
