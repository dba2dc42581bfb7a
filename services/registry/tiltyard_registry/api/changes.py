"""Several changes or none of them, what was changed, and what a version is made of. Paths: /api/tiltyard/v1/…"""

from typing import Annotated

import msgspec
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from tiltyard.names import parse_model_name
from tiltyard.wire.registry import Changes, Event, EventsPage, Manifest
from tiltyard.wire.tags import Empty
from tiltyard_registry.api.replies import replies, reply
from tiltyard_registry.api.routes import get, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store import batch_changes, events, model_versions
from tiltyard_registry.store.session import Session

Millis = Annotated[int, Meta(ge=0, le=2**63 - 1)]


@post("/changes")
async def apply_changes(session: Session, who: Principal, data: Changes) -> Empty:
    """Applies alias and tag changes in order and in one transaction: all of them, or none."""
    await batch_changes.apply_changes(session, who, msgspec.to_builtins(data.changes))
    return Empty()


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
    rows, token = await events.search_events(
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


@get("/models/{name:str}/versions/{version:str}/manifest")
async def get_manifest(read_session: Session, who: Principal, name: str, version: str) -> Manifest:
    """The files of a version with their sizes and SHA-256, its digest, and where they are read."""
    return reply(await model_versions.get_manifest(read_session, who, name, version), Manifest)


HANDLERS: list[HTTPRouteHandler] = [apply_changes, search_events, get_manifest]
