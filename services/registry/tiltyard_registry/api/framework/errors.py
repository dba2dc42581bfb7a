"""Every failure of a request, turned into the protocol's error shape in one place."""

import logging
import re
from typing import Any
from urllib.parse import unquote

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from sqlalchemy.exc import DataError

from tiltyard.errors import (
    BadRequest,
    EndpointNotFound,
    InternalError,
    InvalidParameterValue,
    NothingDone,
    NotImplementedYet,
    PayloadTooLarge,
    PermissionDenied,
    RequestLimitExceeded,
    ResourceAlreadyExists,
    ResourceConflict,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
    TiltyardError,
    Unauthenticated,
    http_status,
    retry_after_s,
)
from tiltyard.wire.errors import ErrorBody, ErrorDetail, UnityErrorBody
from tiltyard_registry.api.framework.binding import refusal

logger = logging.getLogger(__name__)

UNITY_PREFIX = "/api/2.1/unity-catalog"

# Unity Catalog's code and status where they differ from ours. Source: unitycatalog, ErrorCode.java.
_UNITY: tuple[tuple[type[TiltyardError], str, int], ...] = (
    (ResourceAlreadyExists, "ALREADY_EXISTS", 409),
    (ResourceConflict, "ABORTED", 409),
    (ResourceDoesNotExist, "NOT_FOUND", 404),
    (EndpointNotFound, "NOT_FOUND", 404),
    (InvalidParameterValue, "INVALID_ARGUMENT", 400),
    (BadRequest, "INVALID_ARGUMENT", 400),
    (RequestLimitExceeded, "RESOURCE_EXHAUSTED", 429),
    (InternalError, "INTERNAL", 500),
    (NotImplementedYet, "UNIMPLEMENTED", 501),
)
_FRAMEWORK: dict[int, tuple[type[TiltyardError], str]] = {
    401: (Unauthenticated, "Credentials are missing or wrong."),
    403: (PermissionDenied, "This is not allowed."),
    429: (RequestLimitExceeded, "Too many requests."),
    503: (TemporarilyUnavailable, "The server cannot answer now. Try again shortly."),
}
_READS = ("GET", "HEAD")
_MISSING_QUERY = re.compile(r"Missing required (?:query|header|cookie) parameter '([^']+)'")


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The answer to a request that failed, whatever failed."""
    known, scope = to_protocol(error, request), request.scope
    request_id = scope["state"].get("request_id")
    status, body = shape(known, path=scope["path"], method=request.method, request_id=request_id)
    headers = _headers(known, status)
    return Response(content=body, status_code=status, media_type="application/json", headers=headers)


async def refuse(error: TiltyardError, scope: Any, send: Any) -> None:
    """Answers a request with `error`, outside the framework."""
    status, body = shape(error, path=scope["path"], method=scope["method"], request_id=scope["state"].get("request_id"))
    headers = {"content-type": "application/json", "content-length": str(len(body)), **_headers(error, status)}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _headers(error: TiltyardError, status: int) -> dict[str, str]:
    """What a refusal says besides its body: when to come again, or what to bring."""
    if status in (429, 503):
        return {"retry-after": str(retry_after_s(error))}
    if isinstance(error, Unauthenticated):
        # Of schemes that a browser knows none: it would ask for a password in a window of its own.
        return {"www-authenticate": 'Bearer realm="tiltyard"'}
    return {}


def shape(error: TiltyardError, *, path: str, method: str, request_id: str | None) -> tuple[int, bytes]:
    """The HTTP status of `error` and its JSON body."""
    status, code = http_status(error), error.code
    if isinstance(error, NothingDone) and method in _READS:
        # What changes nothing is repeated anyway, and 503 says best that it is the server's trouble.
        status = http_status(TemporarilyUnavailable(error.message))
    if not path.startswith(UNITY_PREFIX):
        shown = request_id if status >= 500 else None
        return status, msgspec.json.encode(ErrorBody(code, error.message, shown))
    for kind, unity_code, unity_status in _UNITY:
        if isinstance(error, kind):
            status, code = unity_status, unity_code
            break
    return status, msgspec.json.encode(UnityErrorBody(code, error.message, [ErrorDetail(code)]))


def to_protocol(error: BaseException, request: Request[Any, Any, Any]) -> TiltyardError:
    """`error` as one of ours. What is not understood is logged, and its text goes nowhere else."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    known: TiltyardError | None = None
    match error:
        case TiltyardError() if not isinstance(error, InternalError):
            known = error
        case ValidationException():
            known = _invalid(error, request)
        case NotFoundException() | MethodNotAllowedException():
            path = unquote(request.scope["path"])[:300]
            known = EndpointNotFound(f"No endpoint is at {request.method} {path}.")
        case HTTPException() if error.status_code == 413:
            limit_bytes = request.app.state.settings.max_body_bytes
            known = PayloadTooLarge(f"The request body is over the limit 'max_body_bytes' of {limit_bytes} bytes.")
        case HTTPException() if error.status_code in _FRAMEWORK:
            kind, message = _FRAMEWORK[error.status_code]
            known = kind(message)
        case HTTPException() if 400 <= error.status_code < 500:
            known = InvalidParameterValue("The request cannot be read.")
        case DataError() | OverflowError():
            logger.info("a value does not fit its column", exc_info=error)
            known = InvalidParameterValue("A value is out of the range that can be stored.")
    return known or _unexpected(error, request)


def _invalid(error: ValidationException, request: Request[Any, Any, Any]) -> TiltyardError:
    if missing := _MISSING_QUERY.search(error.detail):
        return refusal(f"Object missing required field `{missing[1]}`", {})
    for problem in error.extra if isinstance(error.extra, list) else ():
        name = str(problem.get("key", "")).partition(".")[0]
        values: list[Any] = request.query_params.getall(name, [])
        value = values[0] if len(values) == 1 else values or request.path_params.get(name)
        return refusal(f"{problem.get('message', '')} - at `$.{name}`", {name: value})
    return InvalidParameterValue("The request's parameters cannot be read.")


def _unexpected(error: BaseException, request: Request[Any, Any, Any]) -> TiltyardError:
    request_id = request.scope["state"].get("request_id")
    logger.error(
        "%s %s failed",
        request.method,
        request.scope["path"],
        exc_info=error,
        extra={"fields": {"request_id": request_id}},
    )
    return InternalError(f"An internal error occurred. The server's log tells more under request id {request_id}.")
