"""MLflow's levels of permission, READ < USE < EDIT < MANAGE, as privileges.

Source: mlflow/server/auth/permissions.py.
"""

from collections.abc import Mapping
from functools import reduce
from operator import or_

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.access import Kind, Privilege, clauses

NO_PERMISSIONS = "NO_PERMISSIONS"
"""The level of who may do nothing."""

WORKSPACE = "default"
"""The one workspace that there is: catalogs are the tenants here."""

ALL_OF_TYPE = "*"
"""The pattern that means every resource of a type."""

_P = Privilege
_EDITING = _P.EXECUTE | _P.CREATE_MODEL_VERSION | _P.APPLY_TAG | _P.SET_ALIAS | _P.TRANSITION_STAGE
# From strong to weak. USE is no level of its own: who may read a model may load it.
_LEVELS: dict[Kind, dict[str, Privilege]] = {
    Kind.MODEL: {"MANAGE": _EDITING | _P.MANAGE, "EDIT": _EDITING, "READ": _P.EXECUTE},
    Kind.EXPERIMENT: {"MANAGE": _P.MANAGE, "EDIT": _P.EDIT, "READ": _P.READ},
    # All experiments. MANAGE there would reach models too.
    Kind.ROOT: {"EDIT": _P.EDIT, "READ": _P.READ},
}
_TYPES = {"experiment": Kind.EXPERIMENT, "registered_model": Kind.MODEL}
_TYPE_OF = {Kind.EXPERIMENT: "experiment", Kind.MODEL: "registered_model", Kind.ROOT: "experiment"}


def check_workspace(name: str) -> None:
    """Passes if that is the workspace.

    Raises:
        InvalidParameterValue: it is another.
    """
    if name != WORKSPACE:
        raise InvalidParameterValue(
            f"Invalid value {name[:40]!a} for parameter 'workspace': there is '{WORKSPACE}' alone."
        )


def kind_of(resource_type: str, pattern: str) -> Kind:
    """The kind of securable that a resource is, or that `*` means of its type.

    Raises:
        InvalidParameterValue: there is no such type here, or no grant means all of it.
    """
    kind = _TYPES.get(resource_type)
    if kind is None:
        raise InvalidParameterValue(
            f"Invalid value {resource_type[:40]!a} for parameter 'resource_type': expected one of {', '.join(_TYPES)}."
        )
    if pattern != ALL_OF_TYPE:
        return kind
    if kind is Kind.MODEL:
        raise InvalidParameterValue(
            "No grant means every registered model: grant on a catalog or a schema, which holds for all models in it."
        )
    return Kind.ROOT


def resource_of(kind: Kind, name: str) -> tuple[str, str]:
    """The type and the pattern of a securable that a level can be granted on."""
    return _TYPE_OF[kind], ALL_OF_TYPE if kind is Kind.ROOT else name


def privileges_of(kind: Kind, level: str) -> Privilege:
    """What a level gives on a securable of this kind.

    Raises:
        InvalidParameterValue: there is no such level, or it cannot be granted there.
    """
    if level == "DENY":
        raise InvalidParameterValue(
            "DENY cannot be granted: what nobody granted is not allowed. Take back the grant that allows it."
        )
    found = _LEVELS[kind].get("READ" if level == "USE" else level)
    if found is not None:
        return found
    if kind is Kind.ROOT and level == "MANAGE":
        raise InvalidParameterValue(
            "MANAGE on every experiment would reach catalogs and models too: grant it on each experiment."
        )
    raise InvalidParameterValue(
        f"Invalid value {level[:40]!a} for parameter 'permission': expected one of READ, USE, EDIT, MANAGE."
    )


def told_by_levels(kind: Kind) -> Privilege:
    """The privileges that another level, or none, takes the place of."""
    every = reduce(or_, _LEVELS[kind].values())
    # On the root it is about more than experiments.
    return every if kind is Kind.ROOT else every | _P.ALL_PRIVILEGES


def level_granted(kind: Kind, held: Privilege) -> str:
    """The strongest level all of which was granted on a securable itself."""
    if held & _P.OWNER:
        return "MANAGE"
    if held & _P.ALL_PRIVILEGES:
        held |= _LEVELS[kind]["EDIT"]
    return next((level for level, all in _LEVELS[kind].items() if all & held == all), NO_PERMISSIONS)


def level_that_counts(kind: Kind, held: Mapping[Kind, Privilege]) -> str:
    """The strongest level that someone has who holds these privileges on a securable and on what is above it."""

    def may(wanted: Privilege) -> bool:
        return all(
            any(held.get(level, Privilege(0)) & mask for level, mask in clause.items())
            for clause in clauses(kind, wanted)
        )

    levels = _LEVELS[kind].items()
    return next((level for level, every in levels if all(may(one) for one in every)), NO_PERMISSIONS)
