"""A registry without its web: a database, an artifact root, and the doors."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from tiltyard.storage import open_store
from tiltyard_registry.rules.access import SYSTEM, Principal
from tiltyard_registry.store.artifacts import files as artifacts
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.events import history
from tiltyard_registry.store.experiments import logged_models
from tiltyard_registry.store.models import aliases, registered_models, search
from tiltyard_registry.store.registration import new_versions
from tiltyard_registry.store.registration.create_version import NewVersion
from tiltyard_registry.store.runs import runs
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Row, Session

P = ParamSpec("P")
T = TypeVar("T")

ALICE = Principal("alice", is_admin=True)
MODEL_FILES = {"MLmodel": b"flavors: {}\n", "model.pkl": b"\x80\x04."}


async def once(body: bytes) -> AsyncIterator[bytes]:
    """`body` as a request that comes in one piece."""
    yield body


class House:
    """Opens one session per call, as one request does."""

    def __init__(self, database_url: str, artifact_root: str) -> None:
        self.url = database_url
        self.database = Database(database_url)
        self.artifacts = ArtifactRoot(open_store(artifact_root), artifact_root)

    async def do(
        self, door: Callable[Concatenate[Session, Principal, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a door answers in a transaction of its own, asked by Alice."""
        async with self.database.write(request_id="request-1") as session:
            return await door(session, ALICE, *args, **kwargs)

    async def see(
        self, door: Callable[Concatenate[Session, Principal, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a door answers over a reading session."""
        async with self.database.read() as session:
            return await door(session, ALICE, *args, **kwargs)

    async def upload(self, path: str, body: bytes) -> None:
        """Stores one file as the artifact proxy does."""
        await artifacts.store(self.database, SYSTEM, self.artifacts.store, path, once(body))

    async def upload_all(self, prefix: str, files: Mapping[str, bytes] = MODEL_FILES) -> None:
        """Stores files below a prefix."""
        for path, body in files.items():
            await self.upload(f"{prefix}/{path}", body)

    async def run(self) -> tuple[str, str]:
        """The id of a new run, and the path of its artifacts below the root."""
        run = await self.do(runs.create_run, "0")
        return run["info"]["run_id"], self.prefix(run["info"]["artifact_uri"])

    async def log_model(
        self, files: Mapping[str, bytes] = MODEL_FILES, *, name: str = "model", run_id: str = ""
    ) -> tuple[str, str]:
        """The id of a new logged model with these files, and the path of its artifacts below the root."""
        model = await self.do(logged_models.create_logged_model, "0", name=name, source_run_id=run_id)
        prefix = self.prefix(model["info"]["artifact_uri"])
        await self.upload_all(prefix, files)
        return model["info"]["model_id"], prefix

    async def register(self, name: str = "m", files: Mapping[str, bytes] = MODEL_FILES, **options: Any) -> Row:
        """A new version of the model, which is created when missing, from a new logged model."""
        await self.ensure(name)
        model_id, _ = await self.log_model(files)
        return await self.create_version(name, f"models:/{model_id}", model_id=model_id, **options)

    async def create_version(self, name: str, source: str, **options: Any) -> Row:
        """A new version from any source."""
        return await new_versions.create_version(
            self.database, ALICE, self.artifacts, name, NewVersion(source, **options), request_id="request-1"
        )

    async def external(self, name: str = "m", count: int = 1) -> Row:
        """The last of `count` new versions whose files lie elsewhere: the cheapest kind there is."""
        await self.ensure(name)
        for _ in range(count):
            row = await self.create_version(name, "s3://elsewhere/model")
        return row

    async def ensure(self, name: str) -> None:
        """Has the model exist."""
        rows, _ = await self.see(search.search_registered_models, f"name = '{name}'")
        if not rows:
            await self.do(registered_models.create_registered_model, name)

    async def alias(self, name: str, alias: str) -> int | None:
        """The version that an alias names, None when it is absent."""
        rows = await self.see(aliases.list_aliases, name)
        return next((row["version"] for row in rows if row["alias"] == alias), None)

    async def events(self, **narrow: Any) -> list[Row]:
        """Every event, oldest first."""
        rows, _ = await self.see(history.search_events, max_results=1000, **narrow)
        return rows[::-1]

    def prefix(self, uri: str) -> str:
        """The path below the artifact root that a URI names."""
        found = self.artifacts.prefix_of(uri)
        assert found
        return found
