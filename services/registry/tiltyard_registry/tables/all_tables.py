"""Every table by one import, for what goes through many of them; and their `metadata`, complete."""

from tiltyard_registry.tables.access import grants
from tiltyard_registry.tables.artifacts import files, manifests
from tiltyard_registry.tables.columns import metadata, value_head
from tiltyard_registry.tables.events import events
from tiltyard_registry.tables.experiments import (
    experiment_tags,
    experiments,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
)
from tiltyard_registry.tables.models import (
    batch_jobs,
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)
from tiltyard_registry.tables.namespaces import catalogs, schemas
from tiltyard_registry.tables.runs import (
    dataset_input_tags,
    dataset_inputs,
    datasets,
    latest_metrics,
    metrics,
    model_inputs,
    model_outputs,
    params,
    run_tags,
    runs,
)

__all__ = [
    "batch_jobs",
    "catalogs",
    "dataset_input_tags",
    "dataset_inputs",
    "datasets",
    "events",
    "experiment_tags",
    "experiments",
    "files",
    "grants",
    "latest_metrics",
    "logged_model_metrics",
    "logged_model_params",
    "logged_model_tags",
    "logged_models",
    "manifests",
    "metadata",
    "metrics",
    "model_inputs",
    "model_outputs",
    "model_version_tags",
    "model_versions",
    "params",
    "registered_model_aliases",
    "registered_model_tags",
    "registered_models",
    "run_tags",
    "runs",
    "schemas",
    "value_head",
]
