"""Which passwords may be had."""

from tiltyard.errors import InvalidParameterValue

LEAST_CHARS = 12
MOST_CHARS = 1_024


def check_new_password(password: str, name: str) -> str:
    """`password`, if the principal `name` may have it.

    Raises:
        InvalidParameterValue: too short or too long, or it is the name.
    """
    if not LEAST_CHARS <= len(password) <= MOST_CHARS:
        raise InvalidParameterValue(
            f"Invalid value for parameter 'password': expected {LEAST_CHARS} to {MOST_CHARS} characters, got "
            f"{len(password)}."
        )
    if password.casefold() == name.casefold():
        raise InvalidParameterValue("Invalid value for parameter 'password': it is the name.")
    return password
