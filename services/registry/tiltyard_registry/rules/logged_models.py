"""What a logged model may be called. Source: mlflow/utils/validation.py, `_validate_logged_model_name`."""

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.keys import check_length

MAX_NAME_CHARS = 500
MAX_MODEL_TYPE_CHARS = 500
MAX_RUN_ID_CHARS = 32

_REFUSED_CHARS = ("/", ":", ".", "%", '"', "'")


def check_logged_model_name(name: str) -> str:
    """`name` if a logged model may have it.

    Raises:
        InvalidParameterValue: it is empty, holds one of `/ : . % " '`, or is over 500 characters.
    """
    if not name or any(char in name for char in _REFUSED_CHARS):
        raise InvalidParameterValue(
            f"Invalid model name ({name[:300]!r}) provided. Model name must be a non-empty string and cannot "
            f"contain the following characters: {_REFUSED_CHARS}"
        )
    return check_length(name, MAX_NAME_CHARS, "name")
