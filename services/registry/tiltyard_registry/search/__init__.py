"""Search: the filter language in three passes, orders, and pages.

`grammar` makes a tree of the text, `check` holds it against the rows of `fields`, `compile` makes a clause of it.
`Page` does all of it for a door.
"""

from tiltyard_registry.search.compile import Dialect, compile_filter
from tiltyard_registry.search.datasets import Dataset
from tiltyard_registry.search.field import Scope
from tiltyard_registry.search.fields import EXPERIMENTS, LOGGED_MODELS, MODEL_VERSIONS, REGISTERED_MODELS, RUNS, SCOPES
from tiltyard_registry.search.order import OrderBy, order_terms
from tiltyard_registry.search.page import Asked, Page
from tiltyard_registry.search.tokens import PageToken, query_digest

__all__ = [
    "EXPERIMENTS",
    "LOGGED_MODELS",
    "MODEL_VERSIONS",
    "REGISTERED_MODELS",
    "RUNS",
    "SCOPES",
    "Asked",
    "Dataset",
    "Dialect",
    "OrderBy",
    "Page",
    "PageToken",
    "Scope",
    "compile_filter",
    "order_terms",
    "query_digest",
]
