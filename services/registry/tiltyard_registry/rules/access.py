"""Who asks, and what he may do."""

from dataclasses import dataclass
from enum import StrEnum

from tiltyard.errors import PermissionDenied


class Action(StrEnum):
    """What a door is about to do to a securable."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    MANAGE = "manage"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: `name` goes into the events, `may_do_all` is what admins and the anonymous policy have."""

    name: str
    may_do_all: bool = False


SYSTEM = Principal("system", may_do_all=True)


def require(who: Principal, action: Action, securable: str) -> None:
    """Passes if `who` may do `action` to `securable` (such as 'registered model main.ml.iris').

    Raises:
        PermissionDenied: he may not.
    """
    if not who.may_do_all:
        raise PermissionDenied(f"Principal '{who.name}' may not {action} {securable[:300]}.")
