"""The background: reads the files of versions that wait for their manifest, and ends their registration.

Every hash is kept as soon as it is known, so a restart goes on where the process was killed. Two processes that
work on the same version do the same work, and the one that is first ends it.
"""

import asyncio
import contextlib
import logging

from sqlalchemy import select, update

from tiltyard.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from tiltyard_registry.rules.access import SYSTEM, Action
from tiltyard_registry.store import artifacts as files
from tiltyard_registry.store import events
from tiltyard_registry.store.contents import FAILED, PENDING, READY
from tiltyard_registry.store.places import Artifacts
from tiltyard_registry.store.registered_models import locked
from tiltyard_registry.store.session import Database, Found, Session, now_ms
from tiltyard_registry.store.version_rows import is_version
from tiltyard_registry.tables import model_versions, registered_models

_TRIES = 3
_TRY_AGAIN_S = 5.0

_WAITING = (
    select(model_versions, registered_models.c.name)
    .join_from(model_versions, registered_models)
    .where(model_versions.c.status == PENDING, model_versions.c.pinned_prefix.is_not(None))
    .order_by(model_versions.c.creation_timestamp)
)

log = logging.getLogger(__name__)


class Registrations:
    """Ends pending registrations: those found at the start, and those that this process begins."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to work."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stops at once; what is unfinished is resumed by the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def finish_all(self) -> None:
        """Ends every registration that waits now, each as READY or as FAILED_REGISTRATION."""
        async with self._database.read() as session:
            waiting = await session.all(_WAITING)
        for row in waiting:
            await self._finish(row)

    async def _run(self) -> None:
        while True:
            self._artifacts.pending.clear()
            try:
                await self.finish_all()
                await self._artifacts.pending.wait()
            except Exception:
                log.exception("cannot go on with pending registrations, trying again")
                await asyncio.sleep(_TRY_AGAIN_S)

    async def _finish(self, row: Found) -> None:
        reason = ""
        for _ in range(_TRIES):
            try:
                await self._hash(row["pinned_prefix"])
                async with self._database.write() as session:
                    await self._freeze(session, row)
            except (ResourceConflict, ResourceDoesNotExist, InvalidParameterValue) as error:
                # Somebody changes the files behind the registry's back: look again, but not for ever.
                reason = error.message
            else:
                return
        async with self._database.write() as session:
            await self._end(session, row, status=FAILED, status_message=reason, pinned_prefix=None)

    async def _hash(self, prefix: str) -> None:
        async with self._database.read() as session:
            unknown = await files.unknown_files(session, self._artifacts.store, prefix)
        for entry in unknown:
            hashes = await files.hash_unknown(self._artifacts.store, [entry])
            async with self._database.write() as session:
                await files.remember_hashes(session, hashes)

    async def _freeze(self, session: Session, row: Found) -> None:
        manifest = await files.freeze_manifest(session, self._artifacts.store, row["pinned_prefix"])
        if not manifest.files:
            raise InvalidParameterValue("The files are gone.")
        await files.store_manifest(session, manifest)
        await self._end(session, row, status=READY, manifest_digest=manifest.digest)

    async def _end(self, session: Session, row: Found, **after: str | None) -> None:
        with contextlib.suppress(ResourceDoesNotExist):
            # Deleted or renamed meanwhile, or ended by another process: there is nothing left to do here.
            model = await locked(session, SYSTEM, Action.UPDATE, row["name"])
            stamp = {"last_updated_timestamp": now_ms(), "updated_by": SYSTEM.name}
            ended = await session.one(
                update(model_versions)
                .where(is_version(row), model_versions.c.status == PENDING)
                .values(**after, **stamp)
                .returning(model_versions.c.version)
            )
            if ended is not None:
                before = {name: row[name] for name in after}
                events.record(
                    session,
                    SYSTEM,
                    "finalize_model_version",
                    model=model,
                    version=row["version"],
                    before=before,
                    after=after,
                )
