"""Events: one for every change of registry state, written by the transaction that makes the change.

They are collected during the transaction and written as its last statement, so that the lock which gives
them their order is held for no longer than the commit, and never while another lock is waited for.
"""

import json
from collections.abc import Collection

from sqlalchemy import BigInteger, ColumnElement, bindparam, case, func, insert, select, text

from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.sql.session import Found, Row, Session, now_ms
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


def record(
    session: Session,
    who: Principal,
    action: str,
    *,
    model: Found | None = None,
    name: str | None = None,
    version: int | None = None,
    alias: str | None = None,
    before: Found | None = None,
    after: Found | None = None,
) -> None:
    """Has the transaction of `session` write one event when it commits.

    `model` is the row of the registered model concerned, `name` names anything else. `before` and `after` hold
    the fields that changed, None where there was nothing.
    """
    if not session.events:
        session.before_commit.append(lambda: _write(session))
        session.concerned = set()
    names = names_of(model["id"] if model else None, model["name"] if model else name, before, after)
    session.concerned = None if names is None or session.concerned is None else session.concerned | names
    session.events.append(
        {
            "principal": who.name,
            "action": action,
            "registered_model_id": model["id"] if model else None,
            "name": model["name"] if model else name,
            "version": version,
            "alias": alias,
            "before": None if before is None else json.dumps(before, ensure_ascii=False),
            "after": None if after is None else json.dumps(after, ensure_ascii=False),
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


def changed(before: Found, after: Found) -> tuple[Row, Row] | None:
    """The fields of `after` that differ from `before`, as they were and as they are; None if none does."""
    names = [name for name, value in after.items() if before.get(name) != value]
    if not names:
        return None
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


async def _write(session: Session) -> None:
    if not session.is_sqlite:
        await session.execute(_ORDER, {"channel": CHANNEL, "models": _announced(session.concerned)})
    now = now_ms()
    await session.execute(_INSERT, [{**event, "now": now} for event in session.events])


def names_of(
    registered_model_id: int | None, name: str | None, before: Found | str | None, after: Found | str | None
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


def _announced(concerned: Concerned) -> str:
    text = "" if concerned is None else json.dumps(sorted(concerned))
    return text if len(text) <= _MAX_ANNOUNCED_BYTES else ""


def concerned_by(announced: str) -> Concerned:
    """The models that an announcement names; None when it names none."""
    return set(json.loads(announced)) if announced else None
