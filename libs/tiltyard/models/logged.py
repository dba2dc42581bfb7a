"""How a model object gets into the registry: saved, uploaded, finalized, and registered if so wished.

The calls are those of the stock client: logged model PENDING, files, READY, then the version.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltyard.client import Client
from tiltyard.errors import ResourceAlreadyExists, ResourceDoesNotExist
from tiltyard.models.reference import connected
from tiltyard.models.registration import create_version
from tiltyard.models.upload import DEFAULT_EXPERIMENT_ID, upload_model

if TYPE_CHECKING:
    from tiltyard.pyfunc import MLModel, Signature


@dataclass(frozen=True)
class LoggedModelInfo:
    """A model that was logged. `registered_model_version` is None when it was not registered."""

    model_id: str
    model_uri: str
    name: str
    run_id: str | None
    signature: "Signature | None"
    registered_model_name: str | None = None
    registered_model_version: int | None = None


def save_model(model: Any, path: Path | str, **options: Any) -> "MLModel":
    """Writes `model` as a model directory at `path`; options as `tiltyard.pyfunc.save_model` takes them."""
    from tiltyard import pyfunc

    return pyfunc.save_model(model, Path(path), **options)


def log_model(
    model: Any,
    name: str,
    *,
    registered_model_name: str | None = None,
    signature: "Signature | None" = None,
    input_example: Any = None,
    experiment: str | None = None,
    run_id: str | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    registry_url: str | None = None,
    client: Client | None = None,
    **save_options: Any,
) -> LoggedModelInfo:
    """Saves `model` and stores it as a logged model called `name`; registers it when a name is given for that.

    The logged model belongs to the run `run_id`, if any, else to `experiment`, a name that is created when
    missing, else to the one that `MLFLOW_EXPERIMENT_NAME` or `MLFLOW_EXPERIMENT_ID` names, else to the default.

    Raises:
        InvalidParameterValue: a name breaks a rule.
        MissingPackage: saving needs a package that is not installed.
    """
    # A package that is missing is told before anything is sent.
    from tiltyard.pyfunc import save_model as write
    from tiltyard.pyfunc.format.mlmodel import MLModel as Description

    with connected(client, registry_url) as known, tempfile.TemporaryDirectory() as folder:
        experiment_id = _experiment_id(known, experiment, run_id)
        directory = Path(folder) / "model"
        description = write(model, directory, signature=signature, input_example=input_example, **save_options)

        def complete(model_id: str, artifact_uri: str) -> None:
            written = Description.load(directory)
            written.fields |= {"model_id": model_id, "model_uuid": model_id, "artifact_path": artifact_uri}
            if run_id is not None:
                written.fields["run_id"] = run_id
            written.save(directory)

        model_id = upload_model(
            known,
            directory,
            name,
            experiment_id=experiment_id,
            run_id=run_id,
            params=params,
            tags=tags,
            complete=complete,
        )
        version = None
        if registered_model_name is not None:
            version = create_version(
                known, registered_model_name, f"models:/{model_id}", run_id=run_id, model_id=model_id, tags=tags
            )
    return LoggedModelInfo(
        model_id,
        f"models:/{model_id}",
        name,
        run_id,
        description.signature,
        registered_model_name,
        None if version is None else int(version.version),
    )


def _experiment_id(client: Client, experiment: str | None, run_id: str | None) -> str:
    if run_id is not None:
        return client.get_run(run_id).info.experiment_id
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if not name:
        return os.environ.get("MLFLOW_EXPERIMENT_ID") or DEFAULT_EXPERIMENT_ID
    try:
        return client.get_experiment_by_name(name).experiment_id
    except ResourceDoesNotExist:
        # Somebody else may create it between the two calls.
        with suppress(ResourceAlreadyExists):
            return client.create_experiment(name)
        return client.get_experiment_by_name(name).experiment_id
