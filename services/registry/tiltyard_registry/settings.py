"""What one registry process is told: one frozen struct, made by the command line or by a test."""

from pathlib import Path

from msgspec import Struct

from tiltyard.errors import InvalidParameterValue
from tiltyard.telemetry.log_style import LogStyle

_ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+psycopg2": "postgresql+asyncpg",
    "postgresql+psycopg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}


class RegistrySettings(Struct, frozen=True, kw_only=True):
    """Settings of one registry process; None takes the embedded default below `data_dir`."""

    data_dir: Path = Path("tiltyard-data")
    """Folder of the embedded database and of local artifacts."""

    database_url: str | None = None
    """`postgresql+asyncpg://…` or `sqlite+aiosqlite:///…`."""

    artifact_root: str | None = None
    """A folder, or the URI of an object store with a prefix (`s3://bucket/prefix`)."""

    host: str = "127.0.0.1"
    """The address that the process listens on; the guard of the Host header follows from it."""

    port: int = 5000
    workers: int = 1
    """How many processes like this one share the port."""

    auth: tuple[str, ...] = ("anonymous",)
    """Names of auth providers, asked in this order."""

    allowed_hosts: tuple[str, ...] = ()
    """Host names, besides loopback, under which requests and their Origin may come; `*` allows any."""

    max_connections: int = 16
    """Most database connections of this process."""

    max_body_bytes: int = 32 * 1024 * 1024
    """Largest JSON body; artifacts are streamed and not counted."""

    max_values: int = 200_000
    """Most values that a JSON body may hold, each list and object being one."""

    max_arriving_bytes: int = 256 * 1024 * 1024
    """What all JSON bodies that this process is receiving and answering may take together."""

    direct_transfers: bool = True
    """Whether clients may send and fetch large files past the registry, where the store offers it."""

    max_params_per_run: int | None = None
    max_tags_per_run: int | None = None
    max_points_per_run: int | None = None
    """Metric points, over all metrics of a run. None of these four limits: as many as come."""

    max_runs_per_experiment: int | None = None
    """Active runs."""

    max_request_entries: int = 1000
    """Tags, or params, that one call may bring."""

    access_log: bool = True
    """One line per request on standard error."""

    logs: LogStyle = LogStyle()

    @property
    def resolved_database_url(self) -> str:
        """The database's URL with an async driver; SQLite under `data_dir` when none is given.

        Raises:
            InvalidParameterValue: it is of a kind that cannot be used.
        """
        if self.database_url is None:
            return f"sqlite+aiosqlite:///{self.data_dir.resolve() / 'tiltyard.db'}"
        scheme, separator, rest = self.database_url.partition("://")
        driver = _ASYNC_DRIVERS.get(scheme, scheme)
        if driver not in _ASYNC_DRIVERS.values() or not separator:
            named = f"the kind '{scheme[:40]}'" if separator else "no kind that is named"
            raise InvalidParameterValue(
                f"A database of {named} cannot be used (--database-url): expected postgresql+asyncpg://… or "
                "sqlite+aiosqlite:///…"
            )
        return f"{driver}{separator}{rest}"

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the SQLite file that this process brings up to date by itself."""
        return self.resolved_database_url.startswith("sqlite")

    @property
    def resolved_artifact_root(self) -> str:
        """Where artifacts are kept; a folder under `data_dir` when none is given."""
        return self.artifact_root or str(self.data_dir.resolve() / "artifacts")
