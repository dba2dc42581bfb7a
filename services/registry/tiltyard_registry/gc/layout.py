"""Where the registry puts files, and whom a file belongs to by that: what it never wrote is not its to remove."""

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from tiltyard.storage import Entry
from tiltyard_registry.store.artifacts.artifact_root import UNITY_STORAGE, ArtifactRoot
from tiltyard_registry.store.artifacts.hashes import known_hashes
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.experiments import experiments, logged_models
from tiltyard_registry.tables.models import model_versions
from tiltyard_registry.tables.runs import runs

# Where the registry puts the files of what, and the column that knows its id. Only what lies so, in the home of an
# experiment, can be an orphan: the store may hold things of others too.
_LAYOUTS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"(.+?)/([0-9a-f]{32})(?=/artifacts/)"), runs.c.run_id),
    (re.compile(r"(.+?)/models/(m-[0-9a-f]{32})(?=/artifacts/)"), logged_models.c.model_id),
    (re.compile(rf"({UNITY_STORAGE})/models/[^/]+/versions/([^/]+)(?=/)"), model_versions.c.uuid),
)
_OF_VERSION = 2


class Owner(NamedTuple):
    """What a file belongs to by where it lies: the layout, the home, the id in it, and the directory of that id."""

    layout: int
    home: str
    name: str
    place: str


async def homes_of(database: Database, artifacts: ArtifactRoot) -> set[str]:
    """The directories of the experiments that there are."""
    async with database.read() as session:
        rows = await session.all(select(experiments.c.artifact_location))
    return {prefix for row in rows if (prefix := artifacts.prefix_of(row["artifact_location"])) is not None}


def owner_of(path: str, homes: Collection[str]) -> Owner | None:
    """Whom a file belongs to by where it lies, or None when it is laid out as nothing of the registry's."""
    for number, (pattern, _) in enumerate(_LAYOUTS):
        match = pattern.match(path)
        # A number is the home of an experiment that may be gone.
        if match and (match.group(1).isdecimal() or match.group(1) in homes or match.group(1) == UNITY_STORAGE):
            return Owner(number, match.group(1), match.group(2), match.group(0))
    return None


async def known_owners(session: Session, owners: Collection[Owner]) -> set[Owner]:
    """Those that the database has a row of."""
    known: set[Owner] = set()
    for number, (_, column) in enumerate(_LAYOUTS):
        ids = sorted({owner.name for owner in owners if owner.layout == number})
        if ids:
            found = set((await session.execute(select(column).where(rowsets.among(session, column, ids)))).scalars())
            known |= {owner for owner in owners if owner.layout == number and owner.name in found}
    return known


async def of_experiment(session: Session, number: int, home: str, entries: Sequence[Entry]) -> list[Entry]:
    """Those of the files below the home of an experiment, which is being purged, that go with it.

    They are laid out as files of runs and logged models that there are no longer. A client may have chosen the home,
    and others keep things in it; only in the one that the registry chose by the experiment's number, what came
    through the registry goes too.
    """
    owners = {
        entry.path: owner
        for entry in entries
        if (owner := owner_of(entry.path, {home})) is not None and owner.home == home and owner.layout != _OF_VERSION
    }
    known = await known_owners(session, set(owners.values()))
    came = await known_hashes(session, entries) if home == str(number) else {}
    return [
        entry for entry in entries if (owners[entry.path] not in known if entry.path in owners else entry.path in came)
    ]
