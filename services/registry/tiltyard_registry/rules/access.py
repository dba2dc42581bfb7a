"""Who asks, what may be granted to them, and what a grant lets them do.

A grant holds on its securable and on everything below it. There is no denial: what nobody granted is not allowed.
The rule is data, `clauses`, by which `store.access` asks the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum, auto
from functools import cache


class Kind(IntEnum):
    """What can be granted on. The numbers are stored."""

    ROOT = 0
    CATALOG = 1
    SCHEMA = 2
    MODEL = 3
    EXPERIMENT = 4


class Privilege(IntFlag):
    """What a grant can give. The numbers are stored: add at the end."""

    USE_CATALOG = auto()
    USE_SCHEMA = auto()
    BROWSE = auto()
    CREATE_CATALOG = auto()
    CREATE_SCHEMA = auto()
    CREATE_MODEL = auto()
    CREATE_EXPERIMENT = auto()
    EXECUTE = auto()
    CREATE_MODEL_VERSION = auto()
    APPLY_TAG = auto()
    SET_ALIAS = auto()
    TRANSITION_STAGE = auto()
    APPROVE = auto()
    READ = auto()
    EDIT = auto()
    MANAGE = auto()
    READ_AUDIT = auto()
    INTROSPECT = auto()
    ALL_PRIVILEGES = auto()
    OWNER = auto()


class Scope(StrEnum):
    """What a token may be used for, of what its owner may. The texts are stored."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    INTROSPECT = "introspect"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    Attributes:
        name: what events call them.
        id: their row; None for callers that have none, who own nothing.
        grantees: the ids whose grants count for them: their own, and that of every group they are in.
        is_admin: whether they may do everything, as administrators and the anonymous policy may.
        scopes: what the token that they came with is for; None where nothing is kept from them.
        via: the provider that knew them, and the token if there was one: `token 17`.
    """

    name: str
    id: int | None = None
    grantees: tuple[int, ...] = ()
    is_admin: bool = False
    scopes: frozenset[str] | None = None
    via: str = ""

    def may_use(self, wanted: "Privilege") -> bool:
        """Whether the token that they came with is for what takes a privilege, or to see something."""
        if self.scopes is None or Scope.ADMIN in self.scopes:
            return True
        if wanted is Privilege.INTROSPECT:
            return Scope.INTROSPECT in self.scopes
        return Scope.WRITE in self.scopes or (Scope.READ in self.scopes and not wanted & ~_READING)

    def grantees_for(self, wanted: "Privilege") -> tuple[int, ...]:
        """The ids whose grants count for them where a privilege is wanted."""
        return self.grantees if self.may_use(wanted) else ()


SYSTEM = Principal("system", is_admin=True)

ABOVE: dict[Kind, tuple[Kind, ...]] = {
    Kind.ROOT: (),
    Kind.CATALOG: (Kind.ROOT,),
    Kind.SCHEMA: (Kind.CATALOG, Kind.ROOT),
    Kind.MODEL: (Kind.SCHEMA, Kind.CATALOG, Kind.ROOT),
    Kind.EXPERIMENT: (Kind.ROOT,),
}
"""What lies above a securable of each kind, from near to far."""

_P = Privilege
_READING = _P.USE_CATALOG | _P.USE_SCHEMA | _P.BROWSE | _P.EXECUTE | _P.READ | _P.READ_AUDIT
_ON_MODELS = _P.EXECUTE | _P.CREATE_MODEL_VERSION | _P.APPLY_TAG | _P.SET_ALIAS | _P.TRANSITION_STAGE | _P.APPROVE
GRANTABLE: dict[Kind, Privilege] = {
    Kind.ROOT: _P.CREATE_CATALOG | _P.CREATE_EXPERIMENT | _P.READ_AUDIT | _P.INTROSPECT | _P.READ | _P.EDIT | _P.MANAGE,
    Kind.CATALOG: _ON_MODELS
    | _P.USE_CATALOG
    | _P.USE_SCHEMA
    | _P.BROWSE
    | _P.CREATE_SCHEMA
    | _P.CREATE_MODEL
    | _P.MANAGE,
    Kind.SCHEMA: _ON_MODELS | _P.USE_SCHEMA | _P.BROWSE | _P.CREATE_MODEL | _P.MANAGE,
    Kind.MODEL: _ON_MODELS | _P.BROWSE | _P.MANAGE,
    Kind.EXPERIMENT: _P.READ | _P.EDIT | _P.MANAGE,
}
"""The privileges that can be granted on each kind; besides them ALL_PRIVILEGES on any, and who owns it."""

NAMED = _P.SET_ALIAS | _P.TRANSITION_STAGE | _P.APPROVE
"""The privileges that may be limited to names of aliases or stages."""

SEE = Privilege(0)
"""As the privilege wanted: any that lets one see the securable."""

_ANY = Privilege(2 * _P.OWNER - 1)
# What each level of work on an experiment holds besides itself.
_STRONGER = {_P.READ: _P.EDIT | _P.MANAGE, _P.EDIT: _P.MANAGE}
_NOT_OF_ALL = _P.MANAGE | _P.APPROVE
# Who has one of these need not be let through the containers above.
_WITHOUT_USE = _P.BROWSE | _P.MANAGE

Clause = Mapping[Kind, Privilege]
"""One of these privileges is needed, on the securable of that kind."""


@cache
def clauses(kind: Kind, wanted: Privilege) -> tuple[Clause, ...]:
    """What someone needs who wants a privilege on a securable of `kind`: something of every clause."""
    levels = (kind, *ABOVE[kind])
    if wanted != SEE:
        given = {level: giving(wanted, is_above=level is not kind) for level in levels}
        return (given,) if wanted & _WITHOUT_USE else (given, *_ways(kind))
    above = GRANTABLE[kind] | _P.ALL_PRIVILEGES | _P.OWNER
    seen = {level: _ANY if level is kind else above for level in levels}
    # Seeing is let through by what needs no way in; everything else asks for the way in whatever it is.
    free = {
        level: giving(_P.BROWSE, is_above=level is not kind) | giving(_P.MANAGE, is_above=level is not kind)
        for level in levels
    }
    ways = ({level: way.get(level, Privilege(0)) | free[level] for level in {**way, **free}} for way in _ways(kind))
    return seen, *ways


def giving(wanted: Privilege, *, is_above: bool) -> Privilege:
    """The privileges that give `wanted` where they are granted, or below."""
    given = wanted | _STRONGER.get(wanted, Privilege(0))
    if not wanted & _NOT_OF_ALL:
        given |= _P.ALL_PRIVILEGES
    # Who owns a container may manage what is in it, and grant themselves the rest.
    if not is_above or wanted is _P.MANAGE:
        given |= _P.OWNER
    return given


def _ways(kind: Kind) -> list[Clause]:
    """What lets someone through the containers above: their privilege of use, or the management of one."""
    ways: list[Clause] = []
    for container, use in ((Kind.CATALOG, _P.USE_CATALOG), (Kind.SCHEMA, _P.USE_SCHEMA)):
        if container in ABOVE[kind]:
            through = use | _P.ALL_PRIVILEGES | _P.MANAGE | _P.OWNER
            ways.append(dict.fromkeys((container, *ABOVE[container]), through))
    return ways
