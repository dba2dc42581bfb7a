"""Several changes or none of them, and what was changed. Paths: /api/tiltyard/v1/…"""

import msgspec

from tiltyard.names import parse_model_name
from tiltyard.wire.v1.aliases import Changes
from tiltyard.wire.v1.events import Event, EventsPage
from tiltyard_registry.api.framework.replies import replies
from tiltyard_registry.api.framework.routes import get, post
from tiltyard_registry.api.v1.aliases import Millis
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store.events import history
from tiltyard_registry.store.models import change_set
from tiltyard_registry.store.sql.session import Session


@post("/changes")
async def apply_changes(session: Session, who: Principal, data: Changes) -> None:
    """Applies alias and tag changes in order and in one transaction: all of them, or none."""
    await change_set.apply_changes(session, who, msgspec.to_builtins(data.changes))


@get("/events")
async def search_events(
    read_session: Session,
    who: Principal,
    model: str | None = None,
    principal: str | None = None,
    since: Millis | None = None,
    until: Millis | None = None,
    max_results: int | None = None,
    page_token: str | None = None,
) -> EventsPage:
    """One page of what changed in the registry, newest first; times in milliseconds, both ends included."""
    rows, token = await history.search_events(
        read_session,
        who,
        model=None if model is None else parse_model_name(model, parameter="model").shown,
        principal=principal,
        since=since,
        until=until,
        max_results=max_results,
        page_token=page_token,
    )
    return EventsPage(replies(rows, Event), token)
