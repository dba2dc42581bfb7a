"""What changed, who changed it and when. Path: /api/tiltyard/v1/events"""

from typing import Any

from msgspec import Struct


class Event(Struct):
    """One change of registry state. `before` and `after` hold the fields that changed."""

    id: int
    time: int
    principal: str
    action: str
    name: str | None
    version: str | None
    alias: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None


class EventsPage(Struct, omit_defaults=True):
    events: list[Event]
    next_page_token: str | None = None
