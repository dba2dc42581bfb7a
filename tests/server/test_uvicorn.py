"""What the connections of both services use of uvicorn beyond its documented interface: a release may change it."""

import inspect

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

METHODS = {
    HttpToolsProtocol: (
        ("connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing"),
        ("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
        ("on_response_complete", "timeout_keep_alive_handler", "_unset_keepalive_if_required", "shutdown"),
    ),
    uvicorn.Server: (("startup", "shutdown", "handle_exit", "run"),),
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
