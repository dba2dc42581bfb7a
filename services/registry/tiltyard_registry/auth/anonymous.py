"""'No authentication' as a policy: everyone is the same caller, who may do everything."""

from collections.abc import Mapping

from tiltyard_registry.rules.access import Principal

ANONYMOUS = Principal("anonymous", is_admin=True)


async def anonymous(_headers: Mapping[str, str]) -> Principal | None:
    """The anonymous caller, whatever the request says."""
    return ANONYMOUS
