"""The states of experiments, runs and logged models as requests may spell them, and the stages of a model version."""

import re
from typing import NoReturn

from tiltyard.errors import InvalidParameterValue

ACTIVE, DELETED = "active", "deleted"
PURGING = "purging"
"""What `tiltyard gc` has begun to remove. No view shows it, and nothing leads back from it."""

RUN_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
LOGGED_MODEL_STATUSES = (
    "LOGGED_MODEL_STATUS_UNSPECIFIED",
    "LOGGED_MODEL_PENDING",
    "LOGGED_MODEL_READY",
    "LOGGED_MODEL_UPLOAD_FAILED",
)
NONE, STAGING, PRODUCTION, ARCHIVED = STAGES = ("None", "Staging", "Production", "Archived")
_BY_LOWER = {stage.lower(): stage for stage in STAGES}
IN_SERVICE = (STAGING, PRODUCTION)
_AGE = re.compile(r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?")
_MS = (86_400_000, 3_600_000, 60_000, 1000)
_VIEWS = {"ACTIVE_ONLY": (ACTIVE,), "DELETED_ONLY": (DELETED,), "ALL": (ACTIVE, DELETED)}


def lifecycle_stages(view_type: str | int | None, *, parameter: str = "view_type") -> tuple[str, ...]:
    """The lifecycle stages that a view shows: `ACTIVE_ONLY` (1), `DELETED_ONLY` (2) or `ALL` (3), in any case."""
    names = tuple(_VIEWS)
    name = names[0] if view_type in (None, "") else _named(view_type, names, 1, parameter)
    return _VIEWS[name]


def age_ms(text: str, *, parameter: str) -> int:
    """The milliseconds that an age such as `30d`, `8h` or `2d8h5m20s` lasts.

    Source: mlflow/cli/__init__.py, `gc`, tag v3.17.2.

    Raises:
        InvalidParameterValue: it is no such age, or over a thousand years.
    """
    match = _AGE.fullmatch(text.strip())
    try:
        if match is None or not any(match.groups()):
            raise ValueError
        age = int(sum(float(part) * ms for part, ms in zip(match.groups(), _MS, strict=True) if part))
    except (ValueError, OverflowError):
        age = -1
    if not 0 <= age <= 365_000 * _MS[0]:
        raise InvalidParameterValue(
            f"Invalid value '{text[:80]}' for parameter '{parameter}': expected an age such as '30d', '8h' or "
            "'2d8h5m20s'."
        )
    return age


def run_status(status: str | int) -> str:
    """The run status that a request names: upper-case text, or its number (RUNNING is 1)."""
    return _named(status, RUN_STATUSES, 1, "status")


def logged_model_status(status: str | int) -> str:
    """The logged model's status, with its prefix: text with or without prefix, or its number (PENDING is 1).

    Raises:
        InvalidParameterValue: it is none of PENDING, READY and UPLOAD_FAILED.
    """
    if isinstance(status, str) and f"LOGGED_MODEL_{status.upper()}" in LOGGED_MODEL_STATUSES[1:]:
        return f"LOGGED_MODEL_{status.upper()}"
    name = _named(status, LOGGED_MODEL_STATUSES, 0, "status")
    if name == LOGGED_MODEL_STATUSES[0]:
        _refuse(status, LOGGED_MODEL_STATUSES[1:], "status")
    return name


def _named(value: str | int | None, names: tuple[str, ...], first: int, parameter: str) -> str:
    if isinstance(value, str):
        if value.upper() in names:
            return value.upper()
        if value.isascii() and value.isdigit():
            value = int(value[:9])
    if not isinstance(value, int) or isinstance(value, bool) or not first <= value < first + len(names):
        _refuse(value, names, parameter)
    return names[value - first]


def _refuse(value: object, names: tuple[str, ...], parameter: str) -> NoReturn:
    raise InvalidParameterValue(
        f"Invalid value {str(value)[:80]!r} for parameter '{parameter}' supplied: expected one of {', '.join(names)}."
    )


def canonical(stage: str) -> str:
    """The stage as it is shown. Source: mlflow/entities/model_registry/model_version_stages.py.

    Raises:
        InvalidParameterValue: no stage has this name in any case.
    """
    found = _BY_LOWER.get(stage.lower())
    if found is None:
        raise InvalidParameterValue(
            f"Invalid Model Version stage: {stage[:80]}. Value must be one of {', '.join(STAGES)}."
        )
    return found


def check_archiving(stage: str) -> None:
    """Passes a target stage that holds versions in service, so that the others in it can be archived.

    Raises:
        InvalidParameterValue: the stage is None or Archived.
    """
    if stage not in IN_SERVICE:
        raise InvalidParameterValue(
            f"Model version transition cannot archive existing model versions because '{stage}' is not an "
            f"Active stage. Valid stages are {' and '.join(IN_SERVICE)}"
        )
