"""What can happen to principals, tokens and grants: events as those of `rules.events`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tiltyard_registry.rules.events import Changed, Created, Deleted, Event, Fields


@dataclass(frozen=True)
class PrincipalCreated(Created, action="create_principal"):
    """A user, a service or a group."""

    full_name: str
    kind: str
    display_name: str | None
    is_admin: bool


@dataclass(frozen=True)
class PrincipalUpdated(Changed, action="update_principal"):
    """Another display name, more or fewer rights, or another password, which is not told."""

    full_name: str


@dataclass(frozen=True)
class PrincipalDeleted(Deleted, action="delete_principal"):
    """Their tokens and what was granted to them went with them; what they owned is another's."""

    full_name: str
    kind: str
    reassigned_to: str | None = None


@dataclass(frozen=True)
class Membership(Event):
    """Who is in a group."""

    full_name: str
    member: str

    @property
    def after(self) -> Fields:
        """The member."""
        return {"member": self.member}


class MemberAdded(Membership, action="add_group_member"):
    """What is granted to the group counts for the member."""


class MemberRemoved(Membership, action="remove_group_member"):
    """What is granted to the group counts for the member no more, unless another group has it so."""


@dataclass(frozen=True)
class TokenEvent(Event):
    """One token of a principal, `full_name`; of its text only what is shown anyway."""

    full_name: str
    token: Mapping[str, Any]

    @property
    def after(self) -> Fields:
        """What is told of the token."""
        return self.token


class TokenCreated(TokenEvent, action="create_token"):
    """A new token."""


class TokenRotated(TokenEvent, action="rotate_token"):
    """A token that another one follows."""


class TokenRevoked(TokenEvent, action="revoke_token"):
    """A token that is good no more."""


@dataclass(frozen=True)
class GrantsChanged(Changed, action="update_permissions"):
    """What is granted on `full_name`, a securable with its type before it: privileges by principal."""

    full_name: str
