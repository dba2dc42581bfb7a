"""YAML files of a model, read within bounds: its author decides what is in them, and not what reading them costs.

libyaml builds nested nodes by recursion in C, and an alias stands for all that it names, again and again. So the
events of a file, which come one after the other, are counted before anything is built of them.
"""

from io import BytesIO
from typing import Any

import yaml

from tiltyard.errors import InvalidParameterValue

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 64
# Scalars, lists and mappings, each counted as often as aliases repeat it.
MAX_NODES = 50_000
# A number in base 60, `1:2:3…`, takes the square of its length.
MAX_NUMBER_CHARS = 400

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BEGINS_NUMBER = frozenset("+-.0123456789")


def read_yaml(text: str | bytes, *, file_name: str) -> Any:
    """The plain values that `text` spells.

    Args:
        file_name: what the text is called in messages.

    Raises:
        InvalidParameterValue: not YAML of plain values, or larger, deeper or more repetitive than such a file is.
    """
    if len(text) > MAX_FILE_BYTES:
        raise InvalidParameterValue(f"The file {file_name} is larger than {MAX_FILE_BYTES} bytes.")
    try:
        content = text.encode() if isinstance(text, str) else text
        _check(content, file_name)
        # A subclass of SafeLoader: it builds plain values only. It reads a stream piece by piece; libyaml, given all of
        # it, would let no other thread run meanwhile.
        return yaml.load(BytesIO(content), Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError):
        raise InvalidParameterValue(f"The file {file_name} is not valid YAML.") from None


def _check(content: bytes, file_name: str) -> None:
    total = 0
    # What an anchor stands for, in nodes; and where each open list or mapping began, with its anchor.
    sizes: dict[str, int] = {}
    open_at: list[tuple[int, str | None]] = []
    for event in yaml.parse(BytesIO(content), Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_at.append((total, event.anchor))
            total += 1
            if len(open_at) > MAX_DEPTH:
                raise InvalidParameterValue(f"The file {file_name} is nested more than {MAX_DEPTH} levels deep.")
        elif isinstance(event, yaml.CollectionEndEvent):
            began, anchor = open_at.pop()
            if anchor is not None:
                sizes[anchor] = total - began
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
            value = event.value
            if len(value) > MAX_NUMBER_CHARS and (event.implicit[0] or event.tag) and value[0] in _BEGINS_NUMBER:
                raise InvalidParameterValue(f"The file {file_name} holds a number of {len(value)} characters.")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise InvalidParameterValue(f"The file {file_name} has an alias to an anchor that is not there.")
            total += sizes[event.anchor]
        if total > MAX_NODES:
            raise InvalidParameterValue(f"The file {file_name} stands for more than {MAX_NODES} values.")
