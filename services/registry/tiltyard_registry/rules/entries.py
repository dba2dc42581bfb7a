"""Params and tags: what is stored of them, and what is refused.

Source: mlflow/utils/validation.py, tag v3.17.2.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.keys import brief, check_key, check_length

MAX_PARAM_VALUE_CHARS = 6000
MAX_RUN_TAG_VALUE_CHARS = 8000
MAX_MACHINE_TAG_VALUE_CHARS = 1_000_000
MACHINE_READ_TAGS = frozenset({"mlflow.loggedArtifacts", "mlflow.log-model.history", "mlflow.linkedPrompts"})
"""Tags in which clients keep JSON that they read again and add to: cut, it would be none."""
MAX_EXPERIMENT_TAG_VALUE_CHARS = 20_000
MAX_LOGGED_MODEL_KEY_CHARS = 255
MAX_LOGGED_MODEL_VALUE_CHARS = 100_000
MAX_INPUT_TAG_KEY_CHARS = 255
MAX_INPUT_TAG_VALUE_CHARS = 500
_MAX_SHOWN = 10


class Entry(NamedTuple):
    """One param or one tag."""

    key: str
    value: str


def check_param(key: str, value: str, *, path: str = "") -> Entry:
    """The param as it is stored: a value over the limit is cut, as upstream does by default."""
    check_key(key, parameter=_join(path, "key"), noun="Param key")
    return Entry(key, _cut(value, MAX_PARAM_VALUE_CHARS, path))


def check_run_tag(key: str, value: str, *, path: str = "") -> Entry:
    """The run's tag as it is stored: a value over the limit is cut, as upstream does by default.

    What machines read is never cut: over its own, wider limit it is refused.
    """
    check_key(key, parameter=_join(path, "key"))
    if key in MACHINE_READ_TAGS:
        return Entry(key, check_length(value, MAX_MACHINE_TAG_VALUE_CHARS, _join(path, "value")))
    return Entry(key, _cut(value, MAX_RUN_TAG_VALUE_CHARS, path))


def check_params(params: Iterable[Entry]) -> list[Entry]:
    """The params of a batch as they are stored; a mistake is named by its place in `params`.

    Raises:
        InvalidParameterValue: as `check_param` and `check_param_keys_differ`.
    """
    checked = [check_param(key, value, path=f"params[{index}]") for index, (key, value) in enumerate(params)]
    check_param_keys_differ(checked)
    return checked


def check_run_tags(tags: Iterable[Entry]) -> list[Entry]:
    """The tags of a batch as they are stored; a mistake is named by its place in `tags`."""
    return [check_run_tag(key, value, path=f"tags[{index}]") for index, (key, value) in enumerate(tags)]


def check_experiment_tag(key: str, value: str) -> Entry:
    """The experiment's tag if it may be set."""
    check_key(key)
    return Entry(key, check_length(value, MAX_EXPERIMENT_TAG_VALUE_CHARS, "value"))


def check_logged_model_entry(key: str, value: str, *, path: str = "") -> Entry:
    """The logged model's param or tag if it may be set; upstream lets its key be any text."""
    parameter = _join(path, "key")
    if not key:
        raise InvalidParameterValue(f"Missing value for required parameter '{parameter}'.")
    return Entry(
        check_length(key, MAX_LOGGED_MODEL_KEY_CHARS, parameter),
        check_length(value, MAX_LOGGED_MODEL_VALUE_CHARS, _join(path, "value")),
    )


def check_input_tag(key: str, value: str, *, path: str = "") -> Entry:
    """The tag of a dataset input if it may be set."""
    return Entry(
        check_length(key, MAX_INPUT_TAG_KEY_CHARS, _join(path, "key")),
        check_length(value, MAX_INPUT_TAG_VALUE_CHARS, _join(path, "value")),
    )


def check_param_keys_differ(params: Sequence[Entry]) -> None:
    """Passes if no key comes twice, not even with equal values.

    Raises:
        InvalidParameterValue: one does; the message lists them.
    """
    seen: set[str] = set()
    again: list[str] = []
    for param in params:
        (again.append if param.key in seen else seen.add)(param.key)
    if again:
        raise InvalidParameterValue(
            f"Duplicate parameter keys have been submitted: {again}. Please ensure the request contains only "
            "one param value per param key."
        )


def last_of_each(entries: Iterable[Entry]) -> list[Entry]:
    """Of entries with one key the last, sorted by key: the order in which every transaction takes its rows."""
    return [Entry(*item) for item in sorted({entry.key: entry.value for entry in entries}.items())]


def _cut(value: str, max_chars: int, path: str) -> str:
    return check_length(value[:max_chars], max_chars, _join(path, "value"))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def list_in(text: str | None) -> list[Any]:
    """The JSON list in a tag; what a client wrote there by hand and is no list is replaced."""
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def params_changed(changed: Sequence[Mapping[str, str]], owner: str) -> InvalidParameterValue:
    """The error that says that params, each `{key, old_value, new_value}`, have other values already."""
    shown = [{name: brief(text) for name, text in one.items()} for one in changed[:_MAX_SHOWN]]
    return InvalidParameterValue(
        f"Changing param values is not allowed. Params were already logged='{shown}' for {owner}."
    )
