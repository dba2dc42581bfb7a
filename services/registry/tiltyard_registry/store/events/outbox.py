"""Events: one for every change of registry state, written by the transaction that makes the change.

They are collected during the transaction and written as its last statement, so that the lock which gives
them their order is held for no longer than the commit, and never while another lock is waited for.
"""

import json
from collections.abc import Collection

from sqlalchemy import BigInteger, ColumnElement, bindparam, case, func, insert, select, text

from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.events import Event, Fields
from tiltyard_registry.store.sql.session import Found, Session, now_ms
from tiltyard_registry.tables.events import events

CHANNEL = "tiltyard_registry_changes"
"""Where PostgreSQL announces every commit that changed registry state."""

_COLUMNS = ("principal", "action", "registered_model_id", "name", "version", "alias", "before", "after", "request_id")
MAX_SKEW_MS = 60_000
"""So far may the clocks of two servers disagree for times to be in one order with the ids."""

# Ids are the order. Times never fall while clocks disagree by little; by more, one of them was wrong, and what comes
# after it is not to bear its time.
_LAST = select(events.c.time).where(events.c.id == select(func.max(events.c.id)).scalar_subquery())
_TIME = func.coalesce(_LAST.scalar_subquery(), 0)
_NOW = bindparam("now", type_=BigInteger)
_INSERT = insert(events).values(
    time=case((_TIME.between(_NOW, _NOW + MAX_SKEW_MS), _TIME), else_=_NOW),
    **{name: bindparam(name, type_=events.c[name].type) for name in _COLUMNS},
)
# Taken in commit order: who holds the lock is the next to commit. The announcement leaves with the commit.
_ORDER = text("SELECT pg_advisory_xact_lock(hashtextextended('tiltyard events', 0)), pg_notify(:channel, :models)")

# PostgreSQL announces no more than 8,000 bytes.
_MAX_ANNOUNCED_BYTES = 7_900

Concerned = Collection[str] | None
"""The names that the models concerned by a change had or have; None when it may concern any."""


def record(session: Session, who: Principal, event: Event, *, model: Found | None = None) -> None:
    """Has the transaction of `session` write one event when it commits. `model` is the row of the one concerned."""
    if not session.events:
        session.before_commit.append(lambda: _write(session))
        session.concerned = set()
    id, name = (model["id"], model["name"]) if model else (None, getattr(event, "full_name", None))
    before, after = getattr(event, "before", None), getattr(event, "after", None)
    names = names_of(id, name, before, after)
    session.concerned = None if names is None or session.concerned is None else session.concerned | names
    session.events.append(
        {
            "principal": who.name,
            "action": event.action,
            "registered_model_id": id,
            "name": name,
            "version": getattr(event, "version", None),
            "alias": getattr(event, "alias", None),
            "before": _text(before),
            "after": _text(after),
            "request_id": session.request_id,
        }
    )


async def newest_time(session: Session) -> int:
    """When the newest event was written, in milliseconds; 0 when there is none."""
    return int(await session.scalar(select(_TIME)))


def deletion_time() -> ColumnElement[int]:
    """Now, for the statement that deletes; but not before the newest event.

    A clock that is slow for a moment must not make what is deleted then look as if it had been for long.
    """
    now = now_ms()
    return case((now < _TIME, _TIME), else_=now)


def _text(side: Fields | None) -> str | None:
    return None if side is None else json.dumps(side, ensure_ascii=False)


async def _write(session: Session) -> None:
    if not session.is_sqlite:
        models = "" if session.concerned is None else json.dumps(sorted(session.concerned))
        announced = models if len(models) <= _MAX_ANNOUNCED_BYTES else ""
        await session.execute(_ORDER, {"channel": CHANNEL, "models": announced})
    now = now_ms()
    await session.execute(_INSERT, [{**event, "now": now} for event in session.events])


def names_of(
    registered_model_id: int | None, name: str | None, before: Fields | str | None, after: Fields | str | None
) -> set[str] | None:
    """The names that the model of an event had or has; None for an event that is not one model's."""
    if registered_model_id is None or name is None:
        return None
    names = {name}
    for side in (before, after):
        said = json.loads(side) if isinstance(side, str) else side
        if said and isinstance(said.get("name"), str):
            names.add(said["name"])
    return names


def concerned_by(announced: str) -> Concerned:
    """The models that an announcement names; None when it names none."""
    return set(json.loads(announced)) if announced else None
