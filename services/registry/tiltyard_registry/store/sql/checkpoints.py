"""Checkpoints of SQLite's write-ahead log, made in a thread and never by a commit: they wait for the disk."""

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

EVERY_S = 0.25
MOST_FRAMES = 4_000
"""Beyond so many pages in the log its writers wait for as long as it takes to begin it anew."""

_WAIT_MS = 250
_IDLE_BYTES = 1024 * 1024

log = logging.getLogger(__name__)


class Checkpoints:
    """Those of one process over one database. While there are commits, one is made every `EVERY_S` seconds.

    What is committed is moved into the database's file beside readers and writers. Under writers that never pause the
    log would have no end to begin anew from, so a long one is ended with the writers kept off; a last one shortens it.
    """

    def __init__(self, path: str, *, every_s: float = EVERY_S, most_frames: int = MOST_FRAMES) -> None:
        self._path = path
        self._every_s = every_s
        self._most_frames = most_frames
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
            await asyncio.to_thread(self._checkpoint, is_last=not self._is_due)

    def _checkpoint(self, *, is_last: bool) -> None:
        try:
            with closing(sqlite3.connect(self._path, timeout=_WAIT_MS / 1000, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=NORMAL")
                _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if frames > self._most_frames:
                    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                if is_last and Path(f"{self._path}-wal").stat().st_size > _IDLE_BYTES:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (sqlite3.Error, OSError) as error:
            # Nothing is lost: all of it is in the log, and the next one moves it.
            log.warning("a checkpoint of the database failed: %s", error)

    async def close(self) -> None:
        """Makes no more of them. The last connection to the database makes one as it closes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
