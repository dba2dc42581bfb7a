"""What a run is made of at its start, before it has a place; and the two spellings of its id.

Source: mlflow/store/tracking/sqlalchemy_store.py, `create_run`, tag v3.17.2.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.entries import MAX_RUN_TAG_VALUE_CHARS, Entry, check_run_tag, last_of_each
from tiltyard_registry.rules.keys import check_int64, check_length, missing
from tiltyard_registry.rules.run_names import invent

RUN_NAME_TAG = "mlflow.runName"
MAX_USER_ID_CHARS = 256
# A name is also a tag, and the two are equal.
MAX_RUN_NAME_CHARS = MAX_RUN_TAG_VALUE_CHARS


def either_run_id(run_id: str, run_uuid: str) -> str:
    """`run_id`, else `run_uuid`, the older spelling.

    Raises:
        InvalidParameterValue: both are empty.
    """
    if not run_id and not run_uuid:
        raise missing("run_id")
    return run_id or run_uuid


class NewRun(NamedTuple):
    """A run that may be started. `start_time` is in milliseconds; tags are sorted and their keys differ."""

    run_name: str
    user_id: str
    start_time: int
    tags: Sequence[Entry]


def new_run(user_id: str, run_name: str | None, start_time: int, tags: Iterable[Entry]) -> NewRun:
    """The run as it is stored; a name is invented when none came.

    Raises:
        InvalidParameterValue: name and name tag differ, or a value breaks a rule.
    """
    entries = {tag.key: tag.value for tag in (check_run_tag(*tag) for tag in tags)}
    named = entries.get(RUN_NAME_TAG)
    if run_name and named and run_name != named:
        raise InvalidParameterValue(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{run_name}', mlflow.runName='{named}')."
        )
    name = check_length(run_name or named or invent(), MAX_RUN_NAME_CHARS, "run_name")
    if not named:
        entries[RUN_NAME_TAG] = check_run_tag(RUN_NAME_TAG, name).value
    return NewRun(
        run_name=name,
        user_id=check_length(user_id, MAX_USER_ID_CHARS, "user_id"),
        start_time=check_int64(start_time, parameter="start_time"),
        tags=last_of_each(Entry(*item) for item in entries.items()),
    )
