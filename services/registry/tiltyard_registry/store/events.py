"""Events: one for every change of registry state, written by the transaction that makes the change.

They are collected during the transaction and written as its last statement, so that the lock which gives
them their order is held for no longer than the commit, and never while another lock is waited for.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, cast

from sqlalchemy import BigInteger, ColumnElement, RowMapping, Select, bindparam, case, desc, func, insert, select, text

from tiltyard_registry.rules import access, limits
from tiltyard_registry.rules.access import Action, Principal
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.search import PageToken, query_digest
from tiltyard_registry.store.session import Found, Row, Session, now_ms
from tiltyard_registry.tables import events, registered_models

CHANNEL = "tiltyard_registry_changes"
"""Where PostgreSQL announces every commit that changed registry state."""

DEFAULT_PAGE = 100
MAX_PAGE = 1000
MAX_PRINCIPAL_CHARS = 255
_BEHIND_ALL = 2**63 - 1

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


async def search_events(
    session: Session,
    who: Principal,
    *,
    model: str | None = None,
    principal: str | None = None,
    since: int | None = None,
    until: int | None = None,
    max_results: int | None = None,
    page_token: str | None = None,
) -> tuple[list[Row], str | None]:
    """One page of events, newest first, and the token of the next page.

    `model` finds the events of the model that has this name now, under whatever name it had then, and those of
    models that had it. `since` and `until` are milliseconds, both inclusive.

    Raises:
        InvalidParameterValue: a bad page size or token.
    """
    access.require(who, Action.READ, "the audit log")
    limit = limits.page_size(max_results, default=DEFAULT_PAGE, maximum=MAX_PAGE)
    narrowed = []
    if principal is not None:
        narrowed.append(events.c.principal == check_length(principal, MAX_PRINCIPAL_CHARS, "principal"))
    if since is not None:
        narrowed.append(events.c.time >= since)
    if until is not None:
        narrowed.append(events.c.time <= until)
    queries = [select(events).where(*narrowed)]
    if model is not None:
        now_named = select(registered_models.c.id).where(registered_models.c.name == model).scalar_subquery()
        by_id, by_name = events.c.registered_model_id == now_named, events.c.name == model
        # Two index walks instead of one condition that no index answers.
        queries = [query.where(which) for query in queries for which in (by_id, by_name)]
    return await page_of_events(session, queries, limit, page_token, (model, principal, since, until))


async def page_of_events(
    session: Session,
    queries: Sequence[Select[Any]],
    limit: int,
    page_token: str | None,
    bound_to: Sequence[object],
) -> tuple[list[Row], str | None]:
    """One page of what any of the queries finds, newest first; its tokens hold the last event and fit no other query.

    The newest is the one with the highest id: a time may be wrong.
    """
    digest = query_digest("events", *bound_to)
    last = _BEHIND_ALL
    if page_token:
        (last,) = cast(tuple[int], PageToken.decode(page_token, query=digest, columns=[int]))
    found: dict[int, RowMapping] = {}
    for query in queries:
        newest = query.where(events.c.id < last).order_by(desc(events.c.id)).limit(limit + 1)
        found |= {row["id"]: row for row in await session.all(newest)}
    ids = sorted(found, reverse=True)
    page = [shown(found[id]) for id in ids[:limit]]
    if len(ids) <= limit:
        return page, None
    return page, PageToken.encode((page[-1]["id"],), query=digest)


def shown(row: Found) -> Row:
    """An event on its way out, with `before` and `after` as mappings."""
    return {
        **row,
        "before": None if row["before"] is None else json.loads(row["before"]),
        "after": None if row["after"] is None else json.loads(row["after"]),
    }
