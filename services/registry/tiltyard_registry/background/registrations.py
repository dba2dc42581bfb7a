"""The background: reads the files of versions that wait for their manifest, and ends their registration.

Every hash is kept as soon as it is known, so a restart goes on where the process was killed. Of the processes over
one database one works on a version at a time. A version that cannot be read now is tried again later and later, and
holds up no other; after so many tries it is FAILED_REGISTRATION, with the reason.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist, TiltyardError
from tiltyard.version_status import PENDING
from tiltyard_registry.background.loop import Loop
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.registration import freeze
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.leases import lease
from tiltyard_registry.store.sql.session import Found
from tiltyard_registry.tables.models import model_versions, registered_models

# Of files that somebody changes behind the registry's back, and of anything else, such as a store that is away.
_TRIES_OF_FILES = 3
MAX_TRIES = 20
_TRY_AGAIN_S = 5.0
_MAX_TRY_AGAIN_S = 600.0

_WAITING = (
    select(model_versions, registered_models.c.name)
    .join_from(model_versions, registered_models)
    .where(model_versions.c.status == PENDING, model_versions.c.pinned_prefix.is_not(None))
    .order_by(model_versions.c.creation_timestamp)
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Try:
    """How often a version was tried in vain, and when it is due again."""

    count: int = 0
    due_at: float = 0.0


class Registrations:
    """Ends pending registrations: those found at the start, and those that this process begins."""

    def __init__(
        self, database: Database, artifacts: ArtifactRoot, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._clock = clock
        self._tries: dict[str, _Try] = {}
        self._loop = Loop(
            self.finish_all, "look for pending registrations", try_again_s=_TRY_AGAIN_S, wake=artifacts.pending
        )

    async def start(self) -> None:
        """Begins to work."""
        self._loop.start()

    async def stop(self) -> None:
        """Stops at once; what is unfinished is resumed by the next start."""
        await self._loop.stop()

    async def finish_all(self) -> float | None:
        """Tries every registration that waits and is due, each by itself, but for those that others work on.

        Seconds until the next is due; None when none waits any more.
        """
        async with self._database.read() as session:
            waiting = await session.all(_WAITING)
        # What is forgotten here was ended or deleted.
        self._tries = {row["uuid"]: self._tries.get(row["uuid"], _Try()) for row in waiting}
        for row in waiting:
            tried = self._tries[row["uuid"]]
            if tried.due_at <= self._clock() and await self._finish(row, tried):
                del self._tries[row["uuid"]]
        due = [tried.due_at for tried in self._tries.values()]
        return max(0.0, min(due) - self._clock()) if due else None

    async def _finish(self, row: Found, tried: _Try) -> bool:
        """Whether nothing is left to do of it. Whatever is wrong with it concerns no other."""
        shown = f"version {row['version']} of {row['name']}"
        try:
            async with lease(self._database, f"registration {row['uuid']}") as held:
                if held:
                    return await self._read(row, tried)
        except Exception as error:
            log.warning("cannot read the files of %s, trying again later", shown, exc_info=error)
            tried.count += 1
        tried.due_at = self._clock() + min(_TRY_AGAIN_S * 2 ** max(0, tried.count - 1), _MAX_TRY_AGAIN_S)
        return False

    async def _read(self, row: Found, tried: _Try) -> bool:
        reason = ""
        for _ in range(_TRIES_OF_FILES):
            try:
                await freeze.finish(self._database, self._artifacts, row)
            except (ResourceConflict, ResourceDoesNotExist, InvalidParameterValue) as error:
                # Somebody changes the files behind the registry's back: look again, but not for ever.
                reason = error.message
            except Exception as error:
                if tried.count + 1 < MAX_TRIES:
                    raise
                known = error.message if isinstance(error, TiltyardError) else "an unexpected fault, see the log."
                reason = f"The files could not be read: {known}"
                log.warning("giving up on version %s of %s", row["version"], row["name"], exc_info=error)
                break
            else:
                return True
        await freeze.fail(self._database, row, reason)
        return True
