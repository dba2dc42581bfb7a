"""What one registry process is told: one frozen struct, made by the command line or by a test."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from tiltyard.errors import InvalidParameterValue
from tiltyard.server.settings import Count, ServiceSettings, port_setting, setting, workers_setting

MIB = 1024 * 1024

_ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+psycopg2": "postgresql+asyncpg",
    "postgresql+psycopg": "postgresql+asyncpg",
    # The driver is the standard library's, whatever is named.
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
}


def _quota(what: str) -> Meta:
    return setting(f"Most {what}; without it, no limit. Give all processes of one database the same.")


class RegistrySettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of one registry process; None takes the embedded default below `data_dir`."""

    port: Annotated[int, port_setting("registry")] = 5000
    workers: Annotated[int, workers_setting("registry")] = 1
    data_dir: Annotated[Path, setting("Folder of the embedded database and of local artifacts.")] = Path(
        "tiltyard-data"
    )
    database_url: Annotated[
        str | None,
        setting("postgresql://… or sqlite:///…; without it, SQLite in the data folder."),
    ] = None
    artifact_root: Annotated[
        str | None,
        setting("Where artifacts are kept: a folder or s3://bucket/prefix; without it, the data folder."),
    ] = None
    # Names of auth providers, asked in this order.
    auth: tuple[str, ...] = ("anonymous",)
    max_connections: Annotated[int, setting("Most database connections of each process.", ge=1)] = 16
    max_body_bytes: Annotated[
        int,
        setting(
            "The largest JSON body that is read; artifacts are streamed and not counted.",
            ge=1,
            env="REGISTRY_MAX_BODY_BYTES",
        ),
    ] = 32 * MIB
    max_values: Annotated[
        int,
        setting(
            "Most values that a JSON body may hold, each list and object being one; more is answered 413.",
            ge=1,
            env="REGISTRY_MAX_VALUES",
        ),
    ] = 200_000
    max_arriving_bytes: Annotated[
        int,
        setting(
            "What all JSON bodies that a process is receiving may take together; beyond it large ones are answered "
            "503.",
            ge=1,
            env="REGISTRY_MAX_ARRIVING_BYTES",
        ),
    ] = 256 * MIB
    max_params_per_run: Annotated[Count | None, _quota("params that a run may have")] = None
    max_tags_per_run: Annotated[Count | None, _quota("tags that a run may have, its name being one")] = None
    max_points_per_run: Annotated[Count | None, _quota("points that the metrics of a run may have together")] = None
    max_runs_per_experiment: Annotated[Count | None, _quota("active runs that an experiment may have")] = None
    max_request_entries: Annotated[
        int,
        setting(
            "Most tags, or params, that one call which creates something may bring; log-batch has bounds of its own.",
            ge=1,
        ),
    ] = 1000
    direct_transfers: Annotated[
        bool,
        setting(
            "Let clients send and fetch large files past the registry, by presigned URLs of an S3 store. Clients must "
            "be able to reach its endpoint."
        ),
    ] = True
    access_log: Annotated[bool, setting("One line per request on standard error.")] = True

    @property
    def resolved_database_url(self) -> str:
        """The database's URL with an async driver; SQLite under `data_dir` when none is given.

        Raises:
            InvalidParameterValue: it is of a kind that cannot be used.
        """
        if self.database_url is None:
            return f"sqlite:///{self.data_dir.resolve() / 'tiltyard.db'}"
        scheme, separator, rest = self.database_url.partition("://")
        driver = _ASYNC_DRIVERS.get(scheme, scheme)
        if driver not in _ASYNC_DRIVERS.values() or not separator:
            named = f"the kind '{scheme[:40]}'" if separator else "no kind that is named"
            raise InvalidParameterValue(
                f"A database of {named} cannot be used (--database-url): expected postgresql://… or sqlite:///…"
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
