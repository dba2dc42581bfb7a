"""The databases of the servers that are measured: one each, all of one kind."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.fixtures.databases import migrated_sqlite
from tests.fixtures.postgres import Postgres

NAMES = ("Tiltyard", "FastTrackML", "MLflow")


class Databases:
    """One database for each server: of `postgres`, or SQLite files in `folder`."""

    def __init__(self, postgres: Postgres | None, folder: Path) -> None:
        self._postgres = postgres
        self._files = {name: folder / f"{name}.db" for name in NAMES}
        self._urls: dict[str, str] = {}
        if postgres is None:
            migrated_sqlite(self._files["Tiltyard"])
        else:
            self._urls = {name: postgres.create_database(migrated=name == "Tiltyard") for name in NAMES}

    @property
    def kind(self) -> str:
        """What they are, with the version."""
        return f"SQLite {sqlite3.sqlite_version}" if self._postgres is None else self._postgres.version

    @property
    def is_embedded(self) -> bool:
        """Whether they are SQLite files."""
        return self._postgres is None

    @property
    def workers(self) -> int:
        """How many processes each server has: of an embedded database one."""
        return 1 if self.is_embedded else 2

    def url(self, name: str) -> str:
        """The address of a server's database, as that server takes it."""
        if self._postgres is None:
            return f"sqlite://{'' if name == 'FastTrackML' else '/'}{self._files[name]}"
        plain = self._urls[name].replace("+asyncpg", "")
        return f"{plain}?sslmode=disable" if name == "FastTrackML" else plain

    def execute(self, name: str, statements: str) -> None:
        """Runs statements on a server's database, beside the server."""
        if self._postgres is not None:
            self._postgres.execute(statements, self._urls[name].rsplit("/", 1)[1])
            return
        with closing(sqlite3.connect(self._files[name], timeout=60)) as connection:
            connection.create_function("md5", 1, _md5, deterministic=True)
            connection.executescript(f"BEGIN IMMEDIATE; {statements}; COMMIT;")

    def log_bytes(self, name: str) -> int:
        """What the write-ahead log of a SQLite file takes; 0 when it is gone."""
        log = self._files[name].with_name(f"{self._files[name].name}-wal")
        return log.stat().st_size if log.exists() else 0


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
