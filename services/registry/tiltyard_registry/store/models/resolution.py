"""What model URIs name now: a handful of statements, however many URIs are asked."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypedDict

from sqlalchemy import RowMapping, func, select

from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist, TiltyardError
from tiltyard.names import parse_model_name
from tiltyard.uri import AliasUri, LatestUri, RegisteredUri, StageUri, VersionUri, parse_model_uri
from tiltyard_registry.rules import prompts
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.store import access
from tiltyard_registry.store.models import related_rows
from tiltyard_registry.store.models.aliases import no_alias, no_latest
from tiltyard_registry.store.models.model_rows import no_model
from tiltyard_registry.store.models.related_rows import VersionKey, VersionRow
from tiltyard_registry.store.models.version_rows import no_version
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.models import model_versions, registered_model_aliases, registered_models


class ResolvedRow(VersionRow):
    """The version that a URI names."""

    uri: str
    digest: str | None


class UnresolvedRow(TypedDict):
    """Why a URI names no version."""

    uri: str
    error_code: str
    message: str


async def resolve(session: Session, who: Principal, uris: Sequence[str]) -> list[ResolvedRow | UnresolvedRow]:
    """For each URI the version that it names, or why it names none."""
    asked = [_read(uri) for uri in uris]
    known = [one for one in asked if not isinstance(one, TiltyardError)]
    look_ups = await _look_up(session, who, known)
    answers: list[ResolvedRow | UnresolvedRow] = []
    for uri, one in zip(uris, asked, strict=True):
        found = one if isinstance(one, TiltyardError) else look_ups.version_of(one)
        if isinstance(found, TiltyardError):
            answers.append({"uri": uri, "error_code": found.code, "message": found.message})
        else:
            answers.append(ResolvedRow(**found, uri=uri, digest=found["manifest_digest"]))
    return answers


def models_of(uris: Sequence[str]) -> set[str]:
    """The shown names of the models that URIs name; what is wrong with a URI is for `resolve` to say."""
    names = set()
    for uri in uris:
        with suppress(InvalidParameterValue):
            parsed = parse_model_uri(uri)
            if isinstance(parsed, VersionUri | AliasUri | StageUri | LatestUri):
                names.add(parse_model_name(parsed.name).shown)
    return names


class _LookUps:
    """Everything that the URIs asked for need, read from the database."""

    def __init__(self, models: Mapping[str, int | TiltyardError]) -> None:
        self.models = models
        self.aliases: dict[tuple[int, str], int] = {}
        self.latest: dict[int, int] = {}
        self.stages: dict[tuple[int, str], int] = {}
        self.versions: dict[VersionKey, VersionRow] = {}

    def key_of(self, uri: RegisteredUri) -> VersionKey | TiltyardError:
        """(model id, version) of what the URI names, or the error that says what is missing."""
        shown = parse_model_name(uri.name).shown
        model_id = self.models.get(shown) or no_model(shown)
        if isinstance(model_id, TiltyardError):
            return model_id
        match uri:
            case VersionUri(_, number):
                return model_id, number
            case AliasUri(_, alias):
                version = self.aliases.get((model_id, alias))
                return no_alias(alias) if version is None else (model_id, version)
            case StageUri(_, stage):
                version = self.stages.get((model_id, stage))
                absent = f"No version of registered model '{shown}' is in stage '{stage}'."
                return ResourceDoesNotExist(absent) if version is None else (model_id, version)
            case LatestUri():
                version = self.latest.get(model_id)
                return no_latest(shown) if version is None else (model_id, version)

    def version_of(self, uri: RegisteredUri) -> VersionRow | TiltyardError:
        """The version that the URI names."""
        key = self.key_of(uri)
        if isinstance(key, TiltyardError):
            return key
        row = self.versions.get(key)
        if row is None:
            return no_version(parse_model_name(uri.name).shown, key[1])
        is_prompt = prompts.is_prompt_version(row["storage_location"], row["tags"])
        return prompts.refusal(row["name"], key[1]) if is_prompt else row


def _read(uri: str) -> RegisteredUri | TiltyardError:
    try:
        parsed = parse_model_uri(uri)
    except InvalidParameterValue as error:
        return error
    if not isinstance(parsed, VersionUri | AliasUri | StageUri | LatestUri):
        return InvalidParameterValue(
            f"Invalid model URI '{uri[:300]}' for parameter 'uri': expected the URI of a registered model, "
            "'models:/NAME/VERSION', 'models:/NAME/STAGE', 'models:/NAME/latest' or 'models:/NAME@ALIAS'."
        )
    return parsed


def _id_of(who: Principal, row: RowMapping) -> int | TiltyardError:
    """The id of a model that `who` may score with, or what is answered instead."""
    shown = row["name"]
    try:
        return int(access.admit(who, Privilege.EXECUTE, row, no_model(shown), f"registered model {shown}")["id"])
    except TiltyardError as error:
        return error


async def _look_up(session: Session, who: Principal, uris: Sequence[RegisteredUri]) -> _LookUps:
    names = sorted({parse_model_name(uri.name).shown for uri in uris})
    model, version, alias = registered_models.c, model_versions.c, registered_model_aliases.c
    query = select(model.id, model.name).where(rowsets.among(session, model.name, names))
    rows = await session.all(access.held(query, who, access.MODELS, Privilege.EXECUTE))
    found = _LookUps({row["name"]: _id_of(who, row) for row in rows})
    ids = sorted(one for one in found.models.values() if isinstance(one, int))
    if any(isinstance(uri, AliasUri) for uri in uris):
        wanted = sorted({uri.alias for uri in uris if isinstance(uri, AliasUri)})
        query = select(registered_model_aliases).where(
            rowsets.among(session, alias.registered_model_id, ids), rowsets.among(session, alias.alias, wanted)
        )
        for row in await session.all(query):
            found.aliases[row["registered_model_id"], row["alias"]] = row["version"]
    if any(isinstance(uri, LatestUri) for uri in uris):
        highest = select(func.max(version.version)).where(version.registered_model_id == model.id).scalar_subquery()
        latest = select(model.id, highest.label("version")).where(rowsets.among(session, model.id, ids))
        for row in await session.all(latest):
            if row["version"] is not None:
                found.latest[row["id"]] = row["version"]
    staged = sorted({uri.stage for uri in uris if isinstance(uri, StageUri)})
    if staged:
        for newest in await related_rows.latest_versions(session, ids, staged):
            found.stages[newest["registered_model_id"], newest["current_stage"]] = newest["version"]
    keys = [key for uri in uris if not isinstance(key := found.key_of(uri), TiltyardError)]
    if keys:
        among = related_rows.among_versions(session, version.registered_model_id, version.version, sorted(set(keys)))
        rows = await session.all(related_rows.VERSIONS.where(among))
        for version_row in await related_rows.version_rows(session, rows):
            found.versions[version_row["registered_model_id"], version_row["version"]] = version_row
    return found
