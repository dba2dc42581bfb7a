"""What the services use of other packages beyond their documented interfaces: a release may change it."""

import ast
import inspect
import re
import tomllib
from importlib.metadata import version
from typing import Any

import pytest
import uvicorn
from litestar import Litestar
from litestar._openapi.schema_generation import SchemaCreator
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase
from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_cursor
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tests.house.test_imports import PACKAGES, ROOT, modules

BORROWED_FROM = {
    "litestar": "web",
    "prometheus-client": "web",
    "sqlalchemy[asyncio]": "registry",
    "uvicorn": "web",
}
# The modules that are not for others, and are imported all the same.
PRIVATE_MODULES = {"litestar._openapi.schema_generation"}

METHODS = {
    HttpToolsProtocol: (
        ("connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing"),
        ("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
        ("on_response_complete", "timeout_keep_alive_handler", "_unset_keepalive_if_required", "shutdown"),
    ),
    uvicorn.Server: (("startup", "shutdown", "handle_exit", "run"),),
    Litestar: (("_get_default_plugins",),),
    SchemaCreator: (("for_field_definition",),),
    MetricWrapperBase: (("remove_by_labels",),),
    AsyncAdapt_dbapi_cursor: (("_async_soft_close",),),
}
ATTRIBUTES = {
    HttpToolsProtocol: (
        ("parser", "url", "scope", "headers", "cycle", "pipeline", "transport", "flow", "loop", "config"),
        ("server_state", "timeout_keep_alive_task", "limit_concurrency", "app_state"),
    ),
    RequestResponseCycle: (
        ("scope", "message_event", "more_body", "disconnected", "keep_alive", "response_started", "response_complete"),
    ),
    uvicorn.Server: (("config", "server_state", "servers", "started", "should_exit", "force_exit", "lifespan"),),
    ServerState: (("total_requests", "connections", "tasks", "default_headers"),),
    Litestar: (("asgi_handler",),),
    MetricWrapperBase: (("_labelnames", "_metrics"),),
    Histogram: (("_upper_bounds", "_buckets", "_sum"),),
}


@pytest.mark.parametrize("kind", METHODS)
def test_the_methods_that_are_overridden_or_called_are_there(kind: type) -> None:
    """Each by its name: what would be missed silently is missed here."""
    for name in (name for names in METHODS[kind] for name in names):
        assert callable(getattr(kind, name)), name


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_the_attributes_that_are_read_or_set_are_there(kind: type) -> None:
    """A protocol, a cycle and a server make them when they begin."""
    source = inspect.getsource(kind)
    for name in (name for names in ATTRIBUTES[kind] for name in names):
        assert f"self.{name}" in source, name


def test_a_connection_is_made_as_the_server_makes_it() -> None:
    """With these arguments; and there is a line for each status that is answered."""
    assert {"config", "server_state", "app_state"} <= set(inspect.signature(HttpToolsProtocol.__init__).parameters)
    assert {200, 400, 403, 408, 413, 415, 429, 431, 500, 503, 504} <= set(STATUS_LINE)


def test_the_parts_of_a_metric_are_there() -> None:
    """The value of a counter, and the sum and the buckets of a histogram, of which the last holds everything."""
    registry = CollectorRegistry()
    counter: Any = Counter("some", "Some.", registry=registry)
    counter.inc(2)
    assert counter._value.get() == 2
    histogram: Any = Histogram("times", "Times.", buckets=(1, 2), registry=registry)
    histogram._sum.inc(3)
    histogram._buckets[-1].inc(1)
    assert list(histogram._upper_bounds) == [1, 2, float("inf")]
    assert registry.get_sample_value("times_count") == 1
    assert registry.get_sample_value("times_sum") == 3


def test_no_private_module_of_another_package_is_imported_but_these() -> None:
    """Whoever borrows one more says so here."""
    found = set()
    for _, file in modules():
        for node in ast.walk(ast.parse(file.read_text())):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                named = [node.module]
            found |= {name for name in named if name.split(".")[0] not in PACKAGES and re.search(r"\._[a-z]", name)}
    assert found == PRIVATE_MODULES


@pytest.mark.parametrize("package", BORROWED_FROM)
def test_a_package_whose_names_are_borrowed_is_taken_in_one_minor_release_only(package: str) -> None:
    """What is installed next has been looked at."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"][BORROWED_FROM[package]]
    [wanted] = [line for line in extra if line.startswith(package)]
    major, minor = map(int, version(package.partition("[")[0]).split(".")[:2])
    assert wanted == f"{package}>={major}.{minor},<{major}.{minor + 1}"
