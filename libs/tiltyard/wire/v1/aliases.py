"""Aliases with their memory, and several changes at once. Paths: /api/tiltyard/v1/…; names as MLflow shows them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tiltyard.wire.tags import Text


class AliasState(Struct):
    alias: str
    version: str


class AliasesReply(Struct):
    name: str
    aliases: list[AliasState]


class SetAlias(Struct):
    version: Text | int


class AliasMove(Struct):
    """One move of an alias: when, by whom, from where, to where. Null: the alias was absent."""

    event_id: int
    time: int
    principal: str
    alias: str
    from_version: str | None
    to_version: str | None


class AliasHistoryPage(Struct, omit_defaults=True):
    moves: list[AliasMove]
    next_page_token: str | None = None


class Change(Struct, omit_defaults=True):
    """One alias or tag change.

    `set_alias` wants `alias` and `version`; `delete_alias` wants `alias`; `set_tag` wants `key` and takes
    `value`; `delete_tag` wants `key`; tags with a `version` are the version's, without one the model's.
    `expected_version` makes an alias change a compare-and-set; "" means 'the alias must be absent'.
    """

    action: Literal["set_alias", "delete_alias", "set_tag", "delete_tag"]
    name: Text
    alias: str | None = None
    version: str | int | None = None
    expected_version: str | int | None = None
    key: str | None = None
    value: str = ""


class Changes(Struct):
    """Changes that are all applied, in order and in one transaction, or none of them is."""

    changes: Annotated[list[Change], Meta(min_length=1, max_length=1000)]
