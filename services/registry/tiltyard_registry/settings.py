"""What one registry process is told: one frozen struct, made by the command line or by a test."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from tiltyard.errors import InvalidParameterValue
from tiltyard.server.settings import Count, ServiceSettings, port_setting, setting, workers_setting

MIB = 1024 * 1024
PROVIDER_NAMES = ("anonymous", "token", "basic")

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


def parse_providers(given: Iterable[str]) -> tuple[str, ...]:
    """Names of auth providers, of values that may each be several with commas between them. Raises: ValueError."""
    names = tuple(dict.fromkeys(name.strip() for value in given for name in value.split(",") if name.strip()))
    for name in names:
        if name not in PROVIDER_NAMES:
            raise ValueError(f"{name!r} is no provider: expected {', '.join(PROVIDER_NAMES)}.")
    if "anonymous" in names and len(names) > 1:
        raise ValueError("anonymous knows everybody: it is given alone.")
    return names or ("anonymous",)


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
    auth: Annotated[
        tuple[str, ...],
        setting(
            "How callers may say who they are: token, or basic (names and passwords); anonymous lets everybody do "
            "everything. May be repeated; commas separate names, which are asked in their order.",
            metavar="PROVIDER",
            parse=parse_providers,
        ),
    ] = ("anonymous",)
    default_grants: Annotated[
        Literal["standard", "none"],
        setting(
            "What everybody may do from the first start with authentication on: standard has stock clients work, each "
            "with what is theirs."
        ),
    ] = "standard"
    token_max_days: Annotated[int, setting("Most days that a token may be good for.", ge=1, le=3650)] = 365
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
    def asks_who(self) -> bool:
        """Whether callers have to say who they are."""
        return "anonymous" not in self.auth

    @property
    def providers(self) -> tuple[str, ...]:
        """The auth providers in the order in which they are asked: tokens are taken beside any but `anonymous`."""
        return ("token", *(name for name in self.auth if name != "token")) if self.asks_who else self.auth

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the SQLite file that this process brings up to date by itself."""
        return self.resolved_database_url.startswith("sqlite")

    @property
    def resolved_artifact_root(self) -> str:
        """Where artifacts are kept; a folder under `data_dir` when none is given."""
        return self.artifact_root or str(self.data_dir.resolve() / "artifacts")
