"""'No authentication' as a policy: everyone is the same caller, who may do everything."""

from collections.abc import Mapping

from tiltyard_registry.auth.sources import Sources
from tiltyard_registry.rules.access import Principal

ANONYMOUS = Principal("anonymous", is_admin=True)


class Anonymous:
    """The provider `anonymous`."""

    def __init__(self, sources: Sources) -> None:
        """It needs nothing of the `sources`."""

    async def __call__(self, _headers: Mapping[str, str], _address: str) -> Principal | None:
        """The anonymous caller, whatever the request says."""
        return ANONYMOUS
