"""The background: keeps SQLite's index of run names near the runs. PostgreSQL keeps its own."""

import contextlib

from tiltyard.errors import TemporarilyUnavailable
from tiltyard_registry.background.loop import Loop
from tiltyard_registry.store.runs import run_names
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.leases import lease

_EVERY_S = 1.0
_TRY_AGAIN_S = 30.0


class RunNames:
    """Indexes the names of new runs about every second, in one of the processes over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = Loop(self.catch_up, "index the names of runs", try_again_s=_TRY_AGAIN_S)

    async def start(self) -> None:
        """Begins to work, where there is anything to do."""
        if run_names.is_kept(self._database):
            # Searches ask of it, so it is there before the first of them.
            with contextlib.suppress(TemporarilyUnavailable):
                await run_names.create_index(self._database)
            self._loop.start()

    async def stop(self) -> None:
        """Stops at once; the next start goes on."""
        await self._loop.stop()

    async def catch_up(self) -> float:
        """Indexes what there is, unless another process does. Seconds until there may be more."""
        while run_names.is_kept(self._database) and await run_names.lags(self._database):
            async with lease(self._database, "run names") as held:
                if not held:
                    break
                await run_names.index_some(self._database)
        return _EVERY_S
