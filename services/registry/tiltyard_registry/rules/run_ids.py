"""The two spellings of a run's id."""

from tiltyard.errors import InvalidParameterValue


def either_run_id(run_id: str, run_uuid: str) -> str:
    """`run_id`, else `run_uuid`, the older spelling.

    Raises:
        InvalidParameterValue: both are empty.
    """
    if not run_id and not run_uuid:
        raise InvalidParameterValue(
            "Missing value for required parameter 'run_id'. See the API docs for more information about "
            "request parameters."
        )
    return run_id or run_uuid
