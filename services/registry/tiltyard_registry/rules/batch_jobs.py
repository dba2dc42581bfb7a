"""What a batch job may say of itself."""

import re
from typing import Any

from tiltyard.errors import InvalidParameterValue, ResourceConflict
from tiltyard_registry.rules.keys import check_int64, check_length

RUNNING = "RUNNING"
STATUSES = (RUNNING, "SUCCEEDED", "FAILED")

MAX_LOCATION_CHARS = 4_096
MAX_MESSAGE_CHARS = 10_000

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LENGTHS = {"input": MAX_LOCATION_CHARS, "output": MAX_LOCATION_CHARS, "message": MAX_MESSAGE_CHARS}


def check_job_id(job_id: str) -> str:
    """`job_id` if it may be one.

    Raises:
        InvalidParameterValue: not 1 to 64 ASCII letters, digits, '-' and '_'.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise InvalidParameterValue(
            f"Invalid value '{job_id[:80]}' for parameter 'job_id': expected 1 to 64 letters, digits, '-' or '_'."
        )
    return job_id


def check_record(record: dict[str, Any]) -> dict[str, Any]:
    """`record` if its fields agree: `status`, `start_time`, `end_time`, `message` and so on.

    Raises:
        InvalidParameterValue: an unknown status, a text too long, a count below 0, or an end that is missing,
            premature or before the start.
    """
    status, end_time = record["status"], record["end_time"]
    if status not in STATUSES:
        raise InvalidParameterValue(
            f"Invalid value '{str(status)[:40]}' for parameter 'status': expected one of {', '.join(STATUSES)}."
        )
    for name, max_chars in _LENGTHS.items():
        if record[name] is not None:
            check_length(record[name], max_chars, name)
    for name in ("start_time", "end_time", "row_count", "null_count"):
        if record[name] is not None and check_int64(record[name], parameter=name) < 0:
            raise InvalidParameterValue(f"Invalid value {record[name]} for parameter '{name}': expected 0 or more.")
    if (status == RUNNING) is not (end_time is None):
        expected = "none while the job runs" if status == RUNNING else f"one, for the job is {status}"
        raise InvalidParameterValue(f"Invalid value {end_time} for parameter 'end_time': expected {expected}.")
    if end_time is not None and end_time < record["start_time"]:
        raise InvalidParameterValue(f"Invalid value {end_time} for parameter 'end_time': it is before 'start_time'.")
    return record


def check_change(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether `after` is news. A job that ended has ended: a late 'it runs' is none.

    Raises:
        ResourceConflict: the job ended otherwise before.
    """
    if before == after or (before["status"] != RUNNING and after["status"] == RUNNING):
        return False
    if before["status"] != RUNNING:
        raise ResourceConflict(f"The batch job was recorded as {before['status']} already; an end is not changed.")
    return True
