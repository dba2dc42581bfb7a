"""The background: keeps SQLite's index of run names near the runs. PostgreSQL keeps its own."""

import asyncio
import contextlib
import logging

from tiltyard.errors import TemporarilyUnavailable
from tiltyard_registry.store.runs import run_names
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.leases import lease

EVERY_S = 1.0
_TRY_AGAIN_S = 30.0

log = logging.getLogger(__name__)


class RunNames:
    """Indexes the names of new runs every `every_s` seconds, in one of the processes over a database."""

    def __init__(self, database: Database, *, every_s: float = EVERY_S) -> None:
        self._database = database
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to work, where there is anything to do."""
        if run_names.is_kept(self._database):
            # Searches ask of it, so it is there before the first of them.
            with contextlib.suppress(TemporarilyUnavailable):
                await run_names.create_index(self._database)
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stops at once; the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def catch_up(self) -> None:
        """Indexes what there is, unless another process does."""
        while run_names.is_kept(self._database) and await run_names.lags(self._database):
            async with lease(self._database, "run names") as held:
                if not held:
                    return
                await run_names.index_some(self._database)

    async def _run(self) -> None:
        delay_s = self._every_s
        while True:
            try:
                await self.catch_up()
                delay_s = self._every_s
            except Exception as error:
                log.warning("cannot index the names of runs, trying again later", exc_info=error)
                delay_s = _TRY_AGAIN_S
            await asyncio.sleep(delay_s)
