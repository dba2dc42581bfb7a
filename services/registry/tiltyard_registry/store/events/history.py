"""Events as they are read: searched, page by page."""

import json
from collections.abc import Sequence
from typing import Any, TypedDict, cast

from sqlalchemy import ColumnElement, RowMapping, Select, desc, select

from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.search import PageToken, query_digest
from tiltyard_registry.store import access
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.events import events
from tiltyard_registry.tables.models import registered_models

DEFAULT_PAGE = 100

MAX_PAGE = 1000

MAX_PRINCIPAL_CHARS = 255

_BEHIND_ALL = 2**63 - 1


class EventRow(TypedDict):
    """An event as it was written; `version`s, `alias` and the model's id where it has any."""

    id: int
    time: int
    principal: str
    action: str
    registered_model_id: int | None
    name: str | None
    version: int | None
    alias: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    from_version: int | None
    to_version: int | None
    request_id: str | None


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
) -> tuple[list[EventRow], str | None]:
    """One page of events, newest first, and the token of the next page.

    `model` finds the events of the model that has this name now, under whatever name it had then, and those of
    models that had it. `since` and `until` are milliseconds, both inclusive.

    Who may not read the whole log finds the events of the models that they see.

    Raises:
        InvalidParameterValue: a bad page size or token.
    """
    limit = limits.page_size(max_results, default=DEFAULT_PAGE, maximum=MAX_PAGE)
    narrowed: list[ColumnElement[bool]] = []
    if not await access.has(session, who, Privilege.READ_AUDIT):
        models = select(registered_models.c.id).where(*access.visible(who, access.MODELS))
        narrowed.append(events.c.registered_model_id.in_(models))
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
) -> tuple[list[EventRow], str | None]:
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
    page = [_shown(found[id]) for id in ids[:limit]]
    if len(ids) <= limit:
        return page, None
    return page, PageToken.encode((page[-1]["id"],), query=digest)


def _shown(row: RowMapping) -> EventRow:
    sides = {side: None if row[side] is None else json.loads(row[side]) for side in ("before", "after")}
    return cast(EventRow, {**row, **sides})
