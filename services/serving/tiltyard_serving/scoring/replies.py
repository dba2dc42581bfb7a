"""Answers of the raw routes, and the one place where an error becomes one."""

import logging
import uuid

import msgspec
from litestar.exceptions import HTTPException
from litestar.types import Send

from tiltyard.errors import (
    BadRequest,
    EndpointNotFound,
    InternalError,
    SchemaEnforcementFailed,
    TiltyardError,
    UnsupportedMediaType,
    http_status,
    retry_after_s,
)
from tiltyard.server.direct import Header, Reply

TEXT = b"text/plain; charset=utf-8"

# Source: mlflow/exceptions.py, the error class of schema enforcement and its SQLSTATE.
_SCHEMA_ENFORCEMENT = {"sqlstate": "KAM01", "error_class": "SCHEMA_ENFORCEMENT_FAILED"}

_log = logging.getLogger(__name__)


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """The protocol's error shape. `request_id` names the log line of a fault of ours."""

    error_code: str
    message: str
    sqlstate: str | None = None
    error_class: str | None = None
    request_id: str | None = None


def error_reply(error: Exception, request_id: str | None = None) -> Reply:
    """The answer that says what is wrong. What is our fault, or the model's, is logged with its cause.

    The error has no traceback any more: what its frames hold of the request is free at once.

    `request_id` is the caller's own name for the request; a fault of ours gets one in any case.
    """
    reply = _error_reply(error, request_id)
    _drop_tracebacks(error)
    return reply


def _drop_tracebacks(error: BaseException) -> None:
    """Frees what was at work when the error was raised: bodies and tables.

    A frame that holds the error is held by its traceback in turn, and such circles go only with the garbage, which is
    collected seldom.
    """
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        found = chain.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            found.__traceback__ = None
            chain += (found.__cause__, found.__context__)


def _error_reply(error: Exception, request_id: str | None) -> Reply:
    if not isinstance(error, TiltyardError):
        fault = InternalError("Internal error.")
        fault.__cause__ = error
        error = fault
    status = http_status(error)
    if isinstance(error, UnsupportedMediaType):
        return Reply(status, error.message.encode(errors="replace"), TEXT)
    body = ErrorBody(error.code, error.message)
    if isinstance(error, SchemaEnforcementFailed):
        body = ErrorBody(error.code, error.message, **_SCHEMA_ENFORCEMENT)
    headers: tuple[Header, ...] = ()
    if error.retry_after_s is not None:
        headers = ((b"retry-after", b"%d" % retry_after_s(error)),)
    if isinstance(error, InternalError):
        body.request_id = request_id = request_id or uuid.uuid4().hex
        cause = error.__cause__ or error
        _log.error("failed: %s", error.message, exc_info=cause, extra={"request_id": request_id})
    elif error.__cause__ is not None:
        _log.warning("refused: %s", error.message, exc_info=error.__cause__, extra={"request_id": request_id})
    return Reply(status, _encode(body), headers=headers)


def error_body(error: TiltyardError) -> bytes:
    """The protocol's error shape of `error`."""
    return _encode(ErrorBody(error.code, error.message))


def http_error_reply(error: Exception, method: str) -> Reply:
    """The answer to what the framework itself refuses: unknown paths, wrong methods."""
    if isinstance(error, HTTPException) and error.status_code < 500:
        if error.status_code == 405:
            return method_not_allowed(method, (error.headers or {}).get("Allow", "GET"))
        if error.status_code == 404:
            error = EndpointNotFound("No endpoint has this path.")
        else:
            return Reply(error.status_code, _encode(ErrorBody(BadRequest.code, "The request cannot be read.")))
    return error_reply(error)


def method_not_allowed(method: str, allowed: str) -> Reply:
    """The answer to a method that a known path does not have."""
    body = ErrorBody(EndpointNotFound.code, f"The method {method[:20]} is not allowed here, expected {allowed}.")
    return Reply(405, _encode(body), headers=((b"allow", allowed.encode()),))


async def respond(send: Send, reply: Reply) -> None:
    """Sends `reply`."""
    status, body, content_type, headers = reply
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _encode(body: ErrorBody) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        # A lone surrogate, quoted from the input.
        body.message = body.message.encode("utf-8", "backslashreplace").decode()
        return msgspec.json.encode(body)
