"""Checkpoints of SQLite's write-ahead log, made in a thread and never by a commit: they wait for the disk."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from tiltyard_registry.store.sql.turns import Turn

EVERY_S = 0.25
MOST_FRAMES = 4_000
"""Beyond so many pages in the log its writers wait for its readers, so that it can be begun anew."""
WAIT_S = 0.25
"""How long they wait for a log that takes much of the disk; for another one a tenth of it."""

_TURN_WITHIN_S = 1.0
_IDLE_BYTES = 1024 * 1024
_LONG_BYTES = 64 * 1024 * 1024

log = logging.getLogger(__name__)


class Checkpoints:
    """Those of one process over one database. While there are commits, one is made every `EVERY_S` seconds.

    What is committed is moved into the database's file beside readers and writers. Under writers that never pause the
    log would have no end to begin anew from, so a long one is ended with the writers kept off; a last one shortens it.
    It is begun anew here too, in the writers' `turn`: the first commit of a log waits for the disk.
    """

    def __init__(
        self,
        path: str,
        turn: Turn,
        *,
        every_s: float = EVERY_S,
        most_frames: int = MOST_FRAMES,
        wait_s: float = WAIT_S,
    ) -> None:
        self._path = path
        self._turn = turn
        self._every_s = every_s
        self._most_frames = most_frames
        self._wait_s = wait_s
        self._frames = 0
        self._is_due = False
        self._task: asyncio.Task[None] | None = None

    def committed(self) -> None:
        """Has a checkpoint made soon. It is to be called after each commit."""
        self._is_due = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._is_due:
            self._is_due = False
            await asyncio.sleep(self._every_s)
            if await asyncio.to_thread(self._done, self._move):
                with suppress(TimeoutError):
                    async with self._turn.taken(_TURN_WITHIN_S):
                        await asyncio.to_thread(self._done, self._begin_anew)

    def _done(self, work: Callable[[sqlite3.Connection], bool]) -> bool:
        """What `work` gives, and False where it failed."""
        try:
            with closing(sqlite3.connect(self._path, timeout=self._wait_s, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("PRAGMA wal_autocheckpoint=0")
                return work(connection)
        except (sqlite3.Error, OSError) as error:
            # Nothing is lost: all of it is in the log, and the next one moves it.
            log.warning("a checkpoint of the database failed: %s", error)
            return False

    def _move(self, connection: sqlite3.Connection) -> bool:
        """Moves what is committed; whether the log is to be begun anew then."""
        _, self._frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(self._frames > self._most_frames or moved == self._frames or self._is_long)

    def _begin_anew(self, connection: sqlite3.Connection) -> bool:
        """Begins the log anew: whoever does so waits until its head is on the disk.

        One that is short is begun anew by a commit, if nobody reads it. Who reads a longer one is waited for, but a
        read that takes long is not worth that its writers stand still.
        """
        wait_s = self._wait_s if self._size_bytes > _LONG_BYTES else self._wait_s / 10
        connection.execute(f"PRAGMA busy_timeout={1000 * wait_s:.0f}")
        if self._is_long:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        elif self._frames > self._most_frames:
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        connection.execute(f"PRAGMA busy_timeout={1000 * self._wait_s:.0f}")
        connection.execute("BEGIN IMMEDIATE")
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("COMMIT")
        return True

    @property
    def _is_long(self) -> bool:
        return self._size_bytes > (_LONG_BYTES if self._is_due else _IDLE_BYTES)

    @property
    def _size_bytes(self) -> int:
        return Path(f"{self._path}-wal").stat().st_size

    async def close(self) -> None:
        """Makes no more of them. The last connection to the database makes one as it closes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
