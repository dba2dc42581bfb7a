"""The tables of an MLflow server that are copied, and what is said differently here.

Source: mlflow/store/tracking/dbmodels/models.py and mlflow/store/model_registry/dbmodels/models.py, tag v3.17.2.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, and_, exists

from tiltyard_registry.importing.copies.inputs import DATASET_INPUT_TAGS, DATASET_INPUTS, DATASETS, DatasetInputs
from tiltyard_registry.importing.copies.owners import Owner
from tiltyard_registry.importing.copies.rows import Copied
from tiltyard_registry.importing.default_experiment import NewDefault
from tiltyard_registry.importing.fitting import Fitted
from tiltyard_registry.importing.locations import Locations
from tiltyard_registry.importing.source import MLflowDatabase, Values
from tiltyard_registry.rules.experiments import DEFAULT_EXPERIMENT_ID
from tiltyard_registry.rules.lifecycle import ACTIVE
from tiltyard_registry.store.experiments.experiments import get_experiment
from tiltyard_registry.store.experiments.logged_models import REGISTRATIONS_TAG, get_logged_model
from tiltyard_registry.store.runs.runs import get_run
from tiltyard_registry.tables import models
from tiltyard_registry.tables.experiments import (
    experiment_tags,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
)
from tiltyard_registry.tables.experiments import experiments as experiment_rows
from tiltyard_registry.tables.experiments import logged_models as logged_model_rows
from tiltyard_registry.tables.runs import (
    dataset_input_tags,
    latest_metrics,
    metrics,
    model_inputs,
    model_outputs,
    params,
    run_tags,
)
from tiltyard_registry.tables.runs import runs as run_rows

DELETED_STAGE = "Deleted_Internal"
"""What MLflow calls the stage of a version that was deleted."""

# SQL has no infinities there, so the largest numbers stand for them.
_INFINITE = 1.7976931348623157e308
LOGGED_MODEL_READY = "LOGGED_MODEL_READY"
_LOGGED_MODEL_STATUS = {
    1: "LOGGED_MODEL_PENDING",
    2: LOGGED_MODEL_READY,
    3: "LOGGED_MODEL_UPLOAD_FAILED",
}


def _alike(*names: str) -> dict[str, str]:
    """Columns that are called the same on both sides."""
    return {name: name for name in names}


_POINT = _alike("key", "timestamp", "step", "value", "is_nan")
_PAIR = _alike("key", "value")
_MODEL_POINT = {
    "run_id": "run_id",
    "key": "metric_name",
    "timestamp": "metric_timestamp_ms",
    "step": "metric_step",
    "dataset_name": "dataset_name",
    "dataset_digest": "dataset_digest",
    "value": "metric_value",
    "is_nan": "metric_value",
}


def value_of(value: Any, is_nan: bool) -> tuple[float, bool]:
    """A metric's value as our tables hold it: NaN is a flag beside a zero, infinities are themselves."""
    if is_nan or math.isnan(value):
        return 0.0, True
    return (math.copysign(math.inf, value) if abs(value) >= _INFINITE else float(value)), False


def times(created: int, updated: int) -> tuple[int, int]:
    """When a thing was made and last changed; one that never was changed says nothing of the second there."""
    return created, updated or created


def _point(row: Values) -> Values:
    *start, value, is_nan = row
    return (*start, *value_of(value, bool(is_nan)))


def _model_point(row: Values) -> Values:
    # No flag there: a null is what SQLite makes of a NaN.
    *start, value, again = row
    return (*start, *value_of(value, again is None))


def _linked(source_type: str, destination_type: str) -> Callable[[MLflowDatabase, Any], ColumnElement[bool]]:
    def which(_source: MLflowDatabase, inputs: Any) -> ColumnElement[bool]:
        return and_(inputs.c.source_type == source_type, inputs.c.destination_type == destination_type)

    return which


def _of_live_version(source: MLflowDatabase, tags: Any) -> ColumnElement[bool]:
    versions = source.table("model_versions")
    same = [versions.c[name] == tags.c[name] for name in ("workspace", "name", "version") if name in versions.c]
    return exists().where(*same, versions.c.current_stage != DELETED_STAGE)


def experiments(locations: Locations, default: NewDefault | None) -> Owner:
    """Experiments with their tags and datasets; `default` says what their experiment 0 is here."""

    def convert(row: Values) -> Values:
        experiment_id, name, location, stage, *times = row
        if default is not None and experiment_id == DEFAULT_EXPERIMENT_ID:
            name = default.name
        location = locations.home(experiment_id, location)
        return (_number(default, experiment_id), name, location, stage or ACTIVE, *times)

    columns = _alike(
        "experiment_id", "name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time"
    )
    tags = Copied(
        "experiment tags", "experiment_tags", "experiment_id", experiment_tags, "experiment_id", _PAIR
    )  # fmt: skip
    return Owner(
        "experiments", "experiments", experiment_rows, "experiment_id", columns, convert,
        (tags, DATASETS), "artifact_location", get_experiment, each=True,
        renumbered={} if default is None else {default.number: DEFAULT_EXPERIMENT_ID},
    )  # fmt: skip


def _number(default: NewDefault | None, experiment_id: Any) -> Any:
    return experiment_id if default is None else default.number_of(experiment_id)


def runs(locations: Locations, default: NewDefault | None) -> Owner:
    """Runs with params, tags, every point of every metric, and what went in and came out."""
    columns = {
        "run_id": "run_uuid",
        "experiment_id": "experiment_id",
        "run_name": "name",
        **_alike("user_id", "status", "start_time", "end_time", "lifecycle_stage", "deleted_time", "artifact_uri"),
    }

    def convert(row: Values) -> Values:
        run_id, experiment_id, *said, stage, deleted_time, artifact_uri = row
        start = (run_id, _number(default, experiment_id), *said)
        return (*start, stage or ACTIVE, deleted_time, locations.here(artifact_uri))

    number, model = partial(_number, default), {"model_id": "destination_id"}
    children = (
        Copied("params", "params", "run_uuid", params, "run", _PAIR),
        Copied("run tags", "tags", "run_uuid", run_tags, "run", _PAIR),
        Copied("metric points", "metrics", "run_uuid", metrics, "run", _POINT, convert=_point, endless=True),
        Copied("latest metrics", "latest_metrics", "run_uuid", latest_metrics, "run", _POINT, convert=_point),
        replace(DATASET_INPUTS, number=number),
        replace(DATASET_INPUT_TAGS, number=number),
        Copied(
            "model inputs", "inputs", "source_id", model_inputs, "run", model, _linked("RUN_INPUT", "MODEL_INPUT")
        ),
        Copied(
            "model outputs", "inputs", "source_id", model_outputs, "run", model | {"step": "step"},
            _linked("RUN_OUTPUT", "MODEL_OUTPUT"),
        ),
    )  # fmt: skip
    return Owner("runs", "runs", run_rows, "id", columns, convert, children, "artifact_uri", get_run)


def logged_models(locations: Locations, names: Mapping[str, str], default: NewDefault | None) -> Owner:
    """Logged models with params, tags and metrics; `names` says what the models registered from them are called."""
    times = ("creation_timestamp_ms", "last_updated_timestamp_ms")
    said = ("model_type", "source_run_id", "status_message", "lifecycle_stage", "status")
    columns = _alike("model_id", "experiment_id", "name", *times, *said) | {"artifact_uri": "artifact_location"}

    def convert(row: Values) -> Values:
        model_id, experiment_id, *said, stage, status, location = row
        start = (model_id, _number(default, experiment_id), *said)
        known = _LOGGED_MODEL_STATUS.get(int(status or 0), "LOGGED_MODEL_STATUS_UNSPECIFIED")
        return (*start, stage or ACTIVE, known, locations.here(location))

    points = Copied(
        "logged-model metrics", "logged_model_metrics", "model_id", logged_model_metrics, "model_id", _MODEL_POINT,
        convert=_model_point, endless=True,
    )  # fmt: skip
    children = (
        _of_logged_model("params", logged_model_params, "param"),
        _of_logged_model("tags", logged_model_tags, "tag", _with_names(names)),
        points,
    )
    return Owner(
        "logged models", "logged_models", logged_model_rows, "model_id", columns, convert, children, "artifact_uri",
        get_logged_model,
    )  # fmt: skip


def _of_logged_model(noun: str, ours: Any, word: str, convert: Callable[[Values], Values] | None = None) -> Copied:
    columns = {"key": f"{word}_key", "value": f"{word}_value"}
    return Copied(
        f"logged-model {noun}", f"logged_model_{noun}", "model_id", ours, "model_id", columns, convert=convert
    )


def _with_names(names: Mapping[str, str]) -> Callable[[Values], Values]:
    """Says in the list of a logged model's registrations what the registered models are called here."""
    moved = {there: here for there, here in names.items() if there != here}

    def convert(row: Values) -> Values:
        model_id, key, value = row
        if key != REGISTRATIONS_TAG or not moved:
            return row
        try:
            listed = json.loads(value)
            renamed = [one | {"name": moved.get(one["name"], one["name"])} for one in listed]
        except (ValueError, TypeError, KeyError):
            # Clients may write into it what they like.
            return row
        return row if renamed == listed else (model_id, key, json.dumps(renamed))

    return convert


VERSIONS = Copied(
    "model versions",
    "model_versions",
    "name",
    models.model_versions,
    "registered_model_id",
    {
        "version": "version",
        "creation_timestamp": "creation_time",
        "last_updated_timestamp": "last_updated_time",
        **_alike("description", "user_id", "current_stage", "source", "run_id", "run_link", "status_message"),
    },
    lambda _, versions: versions.c.current_stage != DELETED_STAGE,
    lambda row: (*row[:2], *times(*row[2:4]), *row[4:]),
)
"""What is said of a version; where its files are is found anew."""

OF_MODELS = (
    Copied(
        "model tags", "registered_model_tags", "name", models.registered_model_tags, "registered_model_id", _PAIR
    ),
    Copied(
        "version tags", "model_version_tags", "name", models.model_version_tags, "registered_model_id",
        _alike("version", "key", "value"), _of_live_version,
    ),
    Copied(
        "aliases", "registered_model_aliases", "name", models.registered_model_aliases, "registered_model_id",
        _alike("alias", "version"),
    ),
)  # fmt: skip
"""What hangs on a registered model and its versions."""


def fitted(owners: Iterable[Owner], of_models: Iterable[Copied]) -> list[Fitted]:
    """Everything that is copied, for it to be looked at before: their tables, and our columns that they go into."""
    tables = [Fitted(owner.theirs, owner.ours, owner.columns) for owner in owners]
    copied = [*(child for owner in owners for child in owner.children), *of_models]
    # Of what runs took in, the id there is another than here.
    tables += [Fitted(one.theirs, one.ours, one.columns) for one in copied if not isinstance(one, DatasetInputs)]
    return [*tables, Fitted("input_tags", dataset_input_tags, {"key": "name"})]
