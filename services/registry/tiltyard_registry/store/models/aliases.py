"""Aliases: names of versions that move, what they named when, and the way back."""

from sqlalchemy import desc, select

from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist, TiltyardError
from tiltyard.names import MAX_ALIAS_CHARS, check_new_alias, check_version, is_latest, parse_model_name
from tiltyard_registry.rules import limits
from tiltyard_registry.rules.access import SEE, Principal, Privilege
from tiltyard_registry.rules.events import AliasDeleted, AliasMoved
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.store.events import outbox
from tiltyard_registry.store.events.history import DEFAULT_PAGE, MAX_PAGE, EventRow, page_of_events
from tiltyard_registry.store.models import related_rows
from tiltyard_registry.store.models.model_rows import find_model, lock_model
from tiltyard_registry.store.models.related_rows import AliasRow, VersionRow
from tiltyard_registry.store.models.version_rows import find_version, no_version
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Found, Session
from tiltyard_registry.tables.events import events
from tiltyard_registry.tables.models import model_versions, registered_model_aliases

ABSENT = ""
"""As `expected_version`: the alias must not be there yet."""

_MAX_STEPS_BACK = 1000

_alias, _version = registered_model_aliases.c, model_versions.c


class AliasMoveRow(EventRow):
    """An event of an alias, as its history shows it; None as a version: the alias was absent."""

    event_id: int


async def set_alias(
    session: Session,
    who: Principal,
    name: str,
    alias: str,
    version: str | int,
    *,
    expected_version: str | int | None = None,
) -> AliasRow:
    """Has `alias` name `version`, whatever it named before: `{name, alias, version}`.

    With `expected_version` only if it names that one now; `""` expects that it is absent.

    Raises:
        InvalidParameterValue: an alias that is not allowed, or a version that is not a number.
        ResourceDoesNotExist: no such model or version.
        ResourceConflict: the alias does not name the expected version.
    """
    check_new_alias(alias)
    number = check_version(version)
    model = await lock_model(session, who, Privilege.SET_ALIAS, name, named=alias)
    current = await _current(session, model, alias, expected_version)
    if await _missing_versions(session, model, {number}):
        raise no_version(model["name"], version)
    await _point(session, who, model, alias, current, number)
    return {"name": model["name"], "alias": alias, "version": number}


async def delete_alias(
    session: Session, who: Principal, name: str, alias: str, *, expected_version: str | int | None = None
) -> None:
    """Removes the alias; an absent one is no error.

    Raises:
        ResourceDoesNotExist: no such model.
        ResourceConflict: the alias does not name the expected version.
    """
    check_length(alias, MAX_ALIAS_CHARS, "alias")
    model = await lock_model(session, who, Privilege.SET_ALIAS, name, named=alias)
    current = await _current(session, model, alias, expected_version)
    if current is not None:
        await drop(session, who, model, alias, current)


async def rollback_alias(
    session: Session, who: Principal, name: str, alias: str, *, expected_version: str | int | None = None
) -> AliasRow:
    """Has the alias name again what it named last before the present version, or before it was deleted.

    Doing it twice ends where it began. The answer is `{name, alias, version}`.

    Raises:
        InvalidParameterValue: the model never had this alias.
        ResourceDoesNotExist: no such model, or none of the earlier versions exists any more.
        ResourceConflict: the alias does not name the expected version.
    """
    check_length(alias, MAX_ALIAS_CHARS, "alias")
    model = await lock_model(session, who, Privilege.SET_ALIAS, name, named=alias)
    current = await _current(session, model, alias, expected_version)
    moves = await session.all(
        select(events.c.from_version)
        .where(events.c.registered_model_id == model["id"], events.c.alias == alias)
        .order_by(desc(events.c.id))
        .limit(_MAX_STEPS_BACK)
    )
    if current is None and not moves:
        raise no_alias(alias)
    earlier = [move["from_version"] for move in moves if move["from_version"] is not None]
    gone = await _missing_versions(session, model, set(earlier))
    for version in earlier:
        if version != current and version not in gone:
            await _point(session, who, model, alias, current, version)
            return {"name": model["name"], "alias": alias, "version": version}
    raise ResourceDoesNotExist(
        f"Alias '{alias}' of registered model '{model['name']}' has no earlier version to go back to."
    )


async def alias_history(
    session: Session,
    who: Principal,
    name: str,
    alias: str,
    *,
    max_results: int | None = None,
    page_token: str | None = None,
) -> tuple[list[AliasMoveRow], str | None]:
    """One page of the alias's moves, newest first, and the token of the next page.

    Raises:
        ResourceDoesNotExist: no such model.
        InvalidParameterValue: a bad page size or token.
    """
    check_length(alias, MAX_ALIAS_CHARS, "alias")
    limit = limits.page_size(max_results, default=DEFAULT_PAGE, maximum=MAX_PAGE)
    model = await find_model(session, who, SEE, name)
    query = select(events).where(events.c.registered_model_id == model["id"], events.c.alias == alias)
    rows, token = await page_of_events(session, [query], limit, page_token, ("alias", model["id"], alias))
    return [AliasMoveRow(**row, event_id=row["id"]) for row in rows], token


async def list_aliases(session: Session, who: Principal, name: str, *, at: int | None = None) -> list[AliasRow]:
    """Every alias of the model and the version it names; or named at `at`, in milliseconds.

    Raises:
        ResourceDoesNotExist: no such model.
    """
    model = await find_model(session, who, SEE, name)
    if at is None:
        query = select(_alias.alias, _alias.version).where(_alias.registered_model_id == model["id"])
        return [
            {"alias": row["alias"], "version": row["version"]}
            for row in await session.all(query.order_by(_alias.alias))
        ]
    known = select(events.c.alias).where(
        events.c.registered_model_id == model["id"], events.c.alias.is_not(None), events.c.time <= at
    )
    names = [row["alias"] for row in await session.all(known.distinct().order_by(events.c.alias))]
    then = [(alias, await _as_of(session, model, alias, at)) for alias in names]
    return [{"alias": alias, "version": version} for alias, version in then if version is not None]


async def get_alias(session: Session, who: Principal, name: str, alias: str, *, at: int | None = None) -> AliasRow:
    """`{name, alias, version}`: what the alias names; or named at `at`, in milliseconds.

    Raises:
        ResourceDoesNotExist: no such model.
        InvalidParameterValue: there is, or was, no such alias.
    """
    check_length(alias, MAX_ALIAS_CHARS, "alias")
    model = await find_model(session, who, SEE, name)
    if at is None:
        query = select(_alias.version).where(_alias.registered_model_id == model["id"], _alias.alias == alias)
        version = await session.scalar(query)
    else:
        version = await _as_of(session, model, alias, at)
    if version is None:
        raise no_alias(alias)
    return {"name": model["name"], "alias": alias, "version": version}


async def get_model_version_by_alias(session: Session, who: Principal, name: str, alias: str) -> VersionRow:
    """The version that the alias names; `latest`, in any case, is the highest version.

    Raises:
        ResourceDoesNotExist: no such model, or `latest` of one without versions.
        InvalidParameterValue: there is no such alias.
    """
    check_length(alias, MAX_ALIAS_CHARS, "alias")
    if is_latest(alias):
        query = related_rows.VERSIONS.order_by(desc(_version.version)).limit(1)
        missing: TiltyardError = no_latest(parse_model_name(name).shown)
    else:
        query = related_rows.VERSIONS.join(
            registered_model_aliases,
            (_alias.registered_model_id == _version.registered_model_id) & (_alias.version == _version.version),
        ).where(_alias.alias == alias)
        missing = no_alias(alias)
    row = await find_version(session, who, SEE, name, query, missing)
    return (await related_rows.version_rows(session, [row]))[0]


async def drop(session: Session, who: Principal, model: Found, alias: str, version: int) -> None:
    """Removes an alias that names `version` now, and writes its event."""
    await session.execute(
        registered_model_aliases.delete().where(_alias.registered_model_id == model["id"], _alias.alias == alias)
    )
    outbox.record(session, who, AliasDeleted(alias, version), model=model)


def no_alias(alias: str) -> InvalidParameterValue:
    """The error that says that a model has no such alias. Source: upstream answers 400 here, not 404."""
    return InvalidParameterValue(f"Registered model alias {alias[:300]} not found.")


def no_latest(shown: str) -> ResourceDoesNotExist:
    """The error that says that a model has no versions."""
    return ResourceDoesNotExist(f"Latest version not found for model {shown}.")


async def _point(session: Session, who: Principal, model: Found, alias: str, current: int | None, version: int) -> None:
    if version == current:
        return
    columns = {"registered_model_id": model["id"], "alias": [alias], "version": version}
    await rowsets.overwrite(session, registered_model_aliases, columns)
    outbox.record(session, who, AliasMoved(alias, current, version), model=model)


async def _current(session: Session, model: Found, alias: str, expected_version: str | int | None) -> int | None:
    query = select(_alias.version).where(_alias.registered_model_id == model["id"], _alias.alias == alias)
    current: int | None = await session.scalar(query)
    if expected_version is not None:
        expected = None if expected_version == ABSENT else check_version(expected_version)
        if current != expected:
            now = "is absent" if current is None else f"names version {current}"
            wanted = "it to be absent" if expected is None else f"version {expected_version}"
            raise ResourceConflict(
                f"Alias '{alias}' of registered model '{model['name']}' {now}; the request expected {wanted}."
            )
    return current


async def _missing_versions(session: Session, model: Found, numbers: set[int]) -> set[int]:
    query = select(_version.version).where(
        _version.registered_model_id == model["id"], rowsets.among(session, _version.version, sorted(numbers))
    )
    return numbers - {row["version"] for row in await session.all(query)}


async def _as_of(session: Session, model: Found, alias: str, at: int) -> int | None:
    version: int | None = await session.scalar(
        select(events.c.to_version)
        .where(events.c.registered_model_id == model["id"], events.c.alias == alias, events.c.time <= at)
        .order_by(desc(events.c.id))
        .limit(1)
    )
    return version
