"""Runs deleted and restored by the many, in one call each."""

from tiltyard.client.sync_client import Client


def delete_runs(
    experiment_id: str, max_timestamp_millis: int, max_runs: int | None = None, *, registry_url: str | None = None
) -> int:
    """How many active runs of the experiment are deleted now: the oldest that started at or before the time.

    Args:
        max_timestamp_millis: milliseconds since the epoch.
        max_runs: at most so many; 10,000 when absent, and never more.

    Raises:
        ResourceDoesNotExist: there is no such experiment.
        InvalidParameterValue: the time or `max_runs` is out of range.
    """
    with Client(registry_url) as client:
        return client.delete_runs(experiment_id, max_timestamp_millis, max_runs)


def restore_runs(
    experiment_id: str, min_timestamp_millis: int, max_runs: int | None = None, *, registry_url: str | None = None
) -> int:
    """How many deleted runs of the experiment are active again: the last that were deleted at or after the time.

    Args:
        min_timestamp_millis: milliseconds since the epoch.
        max_runs: at most so many; 10,000 when absent, and never more.

    Raises:
        ResourceDoesNotExist: there is no such experiment.
        InvalidParameterValue: the experiment is deleted, or the time or `max_runs` is out of range.
    """
    with Client(registry_url) as client:
        return client.restore_runs(experiment_id, min_timestamp_millis, max_runs)
