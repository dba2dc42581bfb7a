"""A new version: from a source, or with files of its own."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tiltyard.errors import ResourceConflict
from tiltyard.names import parse_model_name
from tiltyard.version_status import PENDING, READY
from tiltyard_registry.rules import limits, prompts
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.rules.limits import check_entries
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.experiments.logged_models import record_registration
from tiltyard_registry.store.models.related_rows import VersionRow
from tiltyard_registry.store.registration.freeze import frozen_digest
from tiltyard_registry.store.registration.new_rows import insert_version, new_version, next_version
from tiltyard_registry.store.registration.sources import Location, locate
from tiltyard_registry.store.registration.sources import is_version as names_version
from tiltyard_registry.store.sql.session import Session


class NewVersion(NamedTuple):
    """What a caller says of a version that is to be registered.

    `source` leads to its files; a run or a logged model proves that the caller may use what belongs to it.
    """

    source: str
    run_id: str | None = None
    model_id: str | None = None
    description: str | None = None
    run_link: str | None = None
    tags: Sequence[Mapping[str, str]] = ()


async def create_model_version(
    session: Session,
    who: Principal,
    artifacts: ArtifactRoot,
    name: str,
    new: NewVersion,
    *,
    seen: Location | None = None,
) -> VersionRow:
    """The model's next version. Its files are pinned where they lie.

    A version with the prompt tag is a prompt: it has a text in a tag and no files, and is never served.

    The status is READY for a prompt, for a copy, and where another version pins the same; else PENDING_REGISTRATION
    until the files were read, which `new_versions` and the background do: the store is not asked here. `seen` is where
    the source led when it was asked; whoever calls holds its scope.

    Raises:
        ResourceDoesNotExist: the model, or the run, logged model or version that the source names, is missing.
        InvalidParameterValue: the source may not be registered, or a value breaks a rule.
    """
    shown = parse_model_name(name).shown
    description = limits.check_description(new.description)
    if new.run_link:
        check_length(new.run_link, limits.MAX_RUN_LINK_CHARS, "run_link")
    check_entries(session.quotas, "tags", len(new.tags))
    checked = limits.check_tags(new.tags)
    # A version that is copied is held, and so is its model by who deletes it: of those two the model comes first.
    # In all other cases it comes last, for who holds it keeps all others from the next number.
    held = None

    async def had_files(prefix: str) -> bool:
        return seen is None or seen.prefix == prefix

    if prompts.is_prompt(checked):
        check_length(new.run_id or "", limits.MAX_RUN_ID_CHARS, "run_id")
        prompts.check_source(new.source)
        location = Location(prompts.LOCATION, None, new.run_id or None, None)
    else:
        held = await next_version(session, who, shown) if names_version(new.source) else None
        location = await locate(
            session, who, artifacts, new.source, run_id=new.run_id, model_id=new.model_id, has_files=had_files
        )
    status, digest = READY, location.manifest_digest
    if location.prefix is not None and digest is None:
        if seen is not None and seen.prefix != location.prefix:
            raise ResourceConflict(
                f"The source '{new.source[:300]}' leads to another place than a moment ago. Register it again."
            )
        digest = await frozen_digest(session, location.prefix)
        status = PENDING if digest is None else READY
    model, number = held or await next_version(session, who, shown)
    row = new_version(
        who,
        model,
        number,
        new.source,
        description=description,
        run_id=location.run_id,
        run_link=new.run_link or None,
        model_id=location.model_id,
        status=status,
        storage_location=location.storage_location,
        pinned_prefix=location.prefix,
        manifest_digest=digest,
        external=location.prefix is None,
    )
    created = await insert_version(session, who, model, row, checked)
    if location.model_id:
        await record_registration(session, location.model_id, shown, number)
    return created
