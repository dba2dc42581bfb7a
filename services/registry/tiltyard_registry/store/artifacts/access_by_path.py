"""Who may read and write the files at a path below the artifact root.

`E/R/…` and `E/models/M/…` belong to the experiment E, while it has the run R or the logged model M. What a registered
version is made of is read by those who may execute its model, too. Every other path is for administrators.
"""

from typing import Any

from sqlalchemy import Select, select

from tiltyard.errors import ResourceDoesNotExist, TiltyardError
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.experiments import parse_experiment_id
from tiltyard_registry.store import access
from tiltyard_registry.store.artifacts.paths import directories_above
from tiltyard_registry.store.sql import rowsets
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.experiments import logged_models
from tiltyard_registry.tables.models import model_versions, registered_models
from tiltyard_registry.tables.runs import runs


async def admit(session: Session, who: Principal, wanted: Privilege, path: str) -> None:
    """Passes if `who` may do that, READ or EDIT, to the files at a path. Absent and hidden are one to them.

    Raises:
        ResourceDoesNotExist: they see nothing there.
        PermissionDenied: they may only read there.
    """
    if who.is_admin:
        return
    place, query = _owner(path)
    row = None if query is None else await session.one(access.held(query, who, place, wanted))
    missing = ResourceDoesNotExist(f"Artifact '{path}' does not exist.")
    try:
        access.admit(who, wanted, row, missing, f"the experiment of artifact {path}")
    except TiltyardError:
        if wanted is not Privilege.READ or not await _may_execute(session, who, path):
            raise


def _owner(path: str) -> tuple[access.Place, Select[Any] | None]:
    """The query for the run or logged model whose directory holds the path."""
    experiment, *below = path.split("/")
    number = parse_experiment_id(experiment) if experiment.isdecimal() and len(experiment) <= 40 else -1
    # Another spelling of the number is another directory.
    if str(number) == experiment:
        if len(below) > 1 and below[0] == "models":
            of_model = (logged_models.c.experiment_id == number, logged_models.c.model_id == below[1])
            return access.LOGGED_MODELS, select(logged_models.c.model_id).where(*of_model)
        if below:
            return access.RUNS, select(runs.c.run_id).where(runs.c.experiment_id == number, runs.c.run_id == below[0])
    return access.RUNS, None


async def _may_execute(session: Session, who: Principal, path: str) -> bool:
    prefixes = sorted({path} | directories_above([path]))
    pinned = (
        select(model_versions.c.version)
        .join_from(model_versions, registered_models)
        .where(rowsets.among(session, model_versions.c.pinned_prefix, prefixes))
        .where(*access.visible(who, access.MODELS, Privilege.EXECUTE))
        .limit(1)
    )
    return await session.scalar(pinned) is not None
