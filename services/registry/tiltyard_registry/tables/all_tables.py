"""The `metadata` of the tables, complete, for what goes through all of them."""

from tiltyard_registry.tables import (  # noqa: F401 - each adds its tables
    access,
    artifacts,
    columns,
    events,
    experiments,
    models,
    namespaces,
    principals,
    runs,
)

metadata = columns.metadata
