"""What a registry finds at its start: whether its store and its database can be used, and what to do if not."""

from tiltyard.errors import InternalError, TemporarilyUnavailable, TiltyardError
from tiltyard_registry.store import migrations
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.sql.database import Database


async def problem_of_store(artifacts: ArtifactRoot) -> str | None:
    """One sentence of what is wrong with the artifact store, and one of what to do; None when it can be listed."""
    try:
        async for _ in artifacts.store.list("", recursive=True):
            break
    except InternalError as error:
        wrong: TiltyardError = error
        remedy = "Check its credentials (AWS_…, GOOGLE_…, AZURE_…), or the folder's permissions."
    except TiltyardError as error:
        wrong, remedy = error, "Check --artifact-root, the network, and AWS_ENDPOINT_URL if the store has an endpoint."
    else:
        return None
    return f"No artifact can be read or written at '{artifacts.root}': {wrong.message} {remedy}"


async def problem_of_database(database: Database) -> str | None:
    """One sentence of what is wrong with the database, and one of what to do; None when it can be used."""
    try:
        async with database.read() as session:
            if await migrations.is_current(session):
                return None
    except TemporarilyUnavailable:
        return "The registry's database does not answer. Check --database-url and that the server runs."
    return "The registry's database does not have the schema of this version. Run 'tiltyard migrate'."
