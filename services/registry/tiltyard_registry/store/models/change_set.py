"""Several alias and tag changes at once: all of them, or none."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tiltyard.errors import InvalidParameterValue, TiltyardError
from tiltyard.names import parse_model_name
from tiltyard_registry.rules.access import SEE, SYSTEM, Principal
from tiltyard_registry.rules.limits import MAX_CHANGES
from tiltyard_registry.store.models import aliases, tags
from tiltyard_registry.store.models.model_rows import lock_model
from tiltyard_registry.store.sql.session import Session

_WANTED = {
    "set_alias": ("alias", "version"),
    "delete_alias": ("alias",),
    "set_tag": ("key",),
    "delete_tag": ("key",),
}


async def apply_changes(session: Session, who: Principal, changes: Sequence[Mapping[str, Any]]) -> None:
    """Applies the changes in order, in the transaction of `session`, which must not commit when this raises.

    A change is `{action, name, alias?, version?, expected_version?, key?, value?}`; see `wire.registry.Change`.

    Raises:
        InvalidParameterValue, ResourceDoesNotExist, ResourceConflict: as the single door does; the message
            begins with the number of the change, counted from 1.
    """
    if not 1 <= len(changes) <= MAX_CHANGES:
        raise InvalidParameterValue(
            f"Parameter 'changes' must hold between 1 and {MAX_CHANGES} changes, got {len(changes)}."
        )
    for number, change in enumerate(changes, 1):
        with _numbered(number, change):
            _check(change)
    # In one order for everybody, so that two batches over the same models never wait for each other.
    names = sorted({parse_model_name(change["name"]).shown for change in changes})
    for name in names:
        # For nobody yet: each change asks for itself, and says what is wrong.
        with suppress(TiltyardError):
            await lock_model(session, SYSTEM, SEE, name)
    for number, change in enumerate(changes, 1):
        with _numbered(number, change):
            await _apply(session, who, change)


@contextmanager
def _numbered(number: int, change: Mapping[str, Any]) -> Iterator[None]:
    """Says in an error's message which of the changes it is about."""
    try:
        yield
    except TiltyardError as error:
        where = f"Change {number} ({change.get('action')})"
        raise type(error)(f"{where}: {error.message}", retry_after_s=error.retry_after_s) from None


def _check(change: Mapping[str, Any]) -> None:
    wanted = _WANTED.get(change.get("action", ""))
    if wanted is None:
        raise InvalidParameterValue(
            f"Invalid value '{str(change.get('action'))[:80]}' for parameter 'action': "
            f"expected one of {', '.join(_WANTED)}."
        )
    for parameter in ("name", *wanted):
        if change.get(parameter) in (None, ""):
            raise InvalidParameterValue(f"Missing value for required parameter '{parameter}'.")
    parse_model_name(change["name"])


async def _apply(session: Session, who: Principal, change: Mapping[str, Any]) -> None:
    name, version, key = change["name"], change.get("version"), change.get("key")
    expected = change.get("expected_version")
    match change["action"]:
        case "set_alias":
            await aliases.set_alias(session, who, name, change["alias"], version or 0, expected_version=expected)
        case "delete_alias":
            await aliases.delete_alias(session, who, name, change["alias"], expected_version=expected)
        case action:
            value = change.get("value", "") if action == "set_tag" else None
            await tags.set_tag(session, who, name, None if version == "" else version, key or "", value)
