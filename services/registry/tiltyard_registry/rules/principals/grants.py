"""What can be written as a grant."""

from collections.abc import Sequence

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.access import GRANTABLE, NAMED, Kind, Privilege

DEFAULT_GRANTS: tuple[tuple[Kind, str, Privilege], ...] = (
    (Kind.ROOT, "metastore", Privilege.CREATE_EXPERIMENT),
    # Where a stock `start_run()` goes that names no experiment.
    (Kind.EXPERIMENT, "0", Privilege.EDIT),
    (Kind.CATALOG, "workspace", Privilege.USE_CATALOG),
    (Kind.SCHEMA, "workspace.default", Privilege.USE_SCHEMA | Privilege.CREATE_MODEL),
)
"""What everybody gets at the first start with authentication, so that stock clients work, each with what is theirs."""


def parse_privilege(text: str, kind: Kind) -> Privilege:
    """The privilege of this name, in Unity Catalog's spelling with blanks or Databricks' with underscores.

    Raises:
        InvalidParameterValue: there is none, or it cannot be granted on a securable of this kind.
    """
    name = text.strip().upper().replace(" ", "_")
    if name == "DENY" or name.startswith("DENY_"):
        raise InvalidParameterValue(
            "DENY cannot be granted: what nobody granted is not allowed. Take back the grant that allows it."
        )
    fitting = GRANTABLE[kind] | Privilege.ALL_PRIVILEGES
    found = Privilege.__members__.get(name)
    if found is None or found not in fitting:
        raise InvalidParameterValue(
            f"Privilege {text[:40]!a} cannot be granted on a {kind.name.lower()}: expected one of "
            f"{', '.join(names_of(fitting))}."
        )
    return found


def names_of(privileges: Privilege) -> list[str]:
    """The names of the privileges, in the order of their bits."""
    return [one.name for one in Privilege if one in privileges and one.name]


def check_names(privileges: Sequence[Privilege], names: Sequence[str] | None) -> list[str] | None:
    """The names of aliases or stages that a grant is limited to, sorted, each once; None where it is not.

    Raises:
        InvalidParameterValue: a privilege cannot be limited to names, or no name is given.
    """
    if names is None:
        return None
    unfit = [one.name for one in privileges if one not in NAMED]
    if unfit or not names or not all(0 < len(name) <= 255 for name in names):
        raise InvalidParameterValue(
            "Invalid value for parameter 'names': expected names of aliases or stages, for "
            f"{', '.join(names_of(NAMED))} alone" + (f", and not for {unfit[0]}." if unfit else ".")
        )
    return sorted(set(names))
