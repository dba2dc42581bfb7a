"""Every error Tiltyard raises, and the one table that maps it to the wire.

The server raises these, the clients raise the same classes again. A `TiltyardError` is an answer that says no; without
an answer it is a `TransportError`. Domain code never names an HTTP status; only `WIRE` does.
"""

import math
from typing import Any, ClassVar, NamedTuple

MAX_SHOWN_CHARS = 60


class TransportError(Exception):
    """No answer arrived: the server is unreachable or the connection broke."""


class ModelIntegrityError(Exception):
    """The bytes read are not the bytes that were registered; nothing was unpickled."""


class MissingPackage(ImportError):
    """A package that a model or a feature needs is absent; the message says what to install."""


class TiltyardError(Exception):
    """The answer is no. `code` is the protocol's error code, `message` is safe to show to a client."""

    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class InvalidParameterValue(TiltyardError):
    """A parameter breaks a rule or has the wrong type."""


class SchemaEnforcementFailed(InvalidParameterValue):
    """A scoring input does not fit the model's signature."""


class InvalidModelInput(InvalidParameterValue):
    """An input that is not what the model's type hint or its loader takes: the caller's fault, in our own words."""


class ModelUnreadable(InvalidParameterValue):
    """A file of the model is missing, damaged or of another kind: the model's fault. The cause says what was met."""


class BadRequest(TiltyardError):
    """A body cannot be read as what it claims to be."""


class ResourceAlreadyExists(TiltyardError):
    """The name is taken. Source: upstream answers 400, not 409, and its clients rely on the code."""


class Unauthenticated(TiltyardError):
    """There are no credentials, or they are wrong."""


class PermissionDenied(TiltyardError):
    """The caller is known and may not do this."""


class ResourceDoesNotExist(TiltyardError):
    """The thing named is not there."""


class EndpointNotFound(TiltyardError):
    """No endpoint has this path and method."""


class ResourceConflict(TiltyardError):
    """Somebody else changed it first, or a registered version pins it."""


class PayloadTooLarge(TiltyardError):
    """The body is larger than the server accepts."""


class UnsupportedMediaType(TiltyardError):
    """The content type of a scoring body is not one we read. Answered as plain text, as upstream's."""


class RequestLimitExceeded(TiltyardError):
    """Too many requests from this caller."""


class ResourceLimitExceeded(TiltyardError):
    """A quota would be exceeded. Not 429, at which clients try again and again."""


class NotImplementedYet(TiltyardError):
    """A feature that clients probe for and this server does not have."""


class InternalError(TiltyardError):
    """A fault of ours. The message never carries the cause."""


class TemporarilyUnavailable(TiltyardError):
    """Try again after `retry_after_s` seconds."""


class NothingDone(TemporarilyUnavailable):
    """Try again after `retry_after_s` seconds: nothing was done, so even what creates something may be repeated.

    Source: from 3.18 on the stock client repeats such calls on 408 and 429 alone.
    """


class DeadlineExceeded(TiltyardError):
    """The work did not end in the time the caller or the server allows."""


class Wire(NamedTuple):
    """How an error looks on the wire: the protocol's code, and the HTTP status."""

    code: str
    status: int


WIRE: dict[type[TiltyardError], Wire] = {
    InvalidParameterValue: Wire("INVALID_PARAMETER_VALUE", 400),
    SchemaEnforcementFailed: Wire("INVALID_PARAMETER_VALUE", 400),
    BadRequest: Wire("BAD_REQUEST", 400),
    ResourceAlreadyExists: Wire("RESOURCE_ALREADY_EXISTS", 400),
    ResourceLimitExceeded: Wire("RESOURCE_LIMIT_EXCEEDED", 400),
    Unauthenticated: Wire("UNAUTHENTICATED", 401),
    PermissionDenied: Wire("PERMISSION_DENIED", 403),
    ResourceDoesNotExist: Wire("RESOURCE_DOES_NOT_EXIST", 404),
    EndpointNotFound: Wire("ENDPOINT_NOT_FOUND", 404),
    ResourceConflict: Wire("RESOURCE_CONFLICT", 409),
    PayloadTooLarge: Wire("BAD_REQUEST", 413),
    UnsupportedMediaType: Wire("BAD_REQUEST", 415),
    RequestLimitExceeded: Wire("REQUEST_LIMIT_EXCEEDED", 429),
    InternalError: Wire("INTERNAL_ERROR", 500),
    NotImplementedYet: Wire("NOT_IMPLEMENTED", 501),
    TemporarilyUnavailable: Wire("TEMPORARILY_UNAVAILABLE", 503),
    NothingDone: Wire("TEMPORARILY_UNAVAILABLE", 429),
    DeadlineExceeded: Wire("DEADLINE_EXCEEDED", 504),
}
for _kind, _wire in WIRE.items():
    _kind.code = _wire.code

# Codes of other servers' answers that mean one of ours.
_SYNONYMS: dict[str, type[TiltyardError]] = {
    "ALREADY_EXISTS": ResourceAlreadyExists,
    "NOT_FOUND": ResourceDoesNotExist,
    "ABORTED": ResourceConflict,
    "INVALID_ARGUMENT": InvalidParameterValue,
    "RESOURCE_EXHAUSTED": RequestLimitExceeded,
}
_BY_CODE: dict[str, type[TiltyardError]] = {wire.code: error for error, wire in reversed(WIRE.items())} | _SYNONYMS
_BY_STATUS: dict[int, type[TiltyardError]] = {wire.status: error for error, wire in reversed(WIRE.items())}
# A code that several classes share is told apart by the status.
_BY_BOTH = {(wire.status, wire.code): error for error, wire in reversed(WIRE.items())}


def http_status(error: TiltyardError) -> int:
    """The HTTP status of an error: that of its class, or of the nearest class above it in the table."""
    for cls in type(error).__mro__:
        if cls in WIRE:
            return WIRE[cls].status
    return 500


def retry_after_s(error: TiltyardError) -> int:
    """The whole seconds after which the caller may come again, as the header `retry-after` has them: never too few."""
    return max(1, math.ceil(error.retry_after_s or 1))


def from_answer(status: int, code: str | None, message: str, *, retry_after_s: float | None = None) -> TiltyardError:
    """The error that an answer means, by its code when that is known, else by its HTTP status."""
    cls = _BY_BOTH.get((status, code or "")) or _BY_CODE.get(code or "") or _BY_STATUS.get(status)
    if cls is None:
        cls = InvalidParameterValue if 400 <= status < 500 else InternalError
    return cls(message, retry_after_s=retry_after_s)


def quote(value: Any) -> str:
    """`value` for an error message, at most about 60 characters; containers by type and size only."""
    if isinstance(value, str):
        text = value if len(value) <= MAX_SHOWN_CHARS else value[:MAX_SHOWN_CHARS] + "…"
        # A lone surrogate cannot be sent; show it as an escape.
        return repr(text).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if isinstance(value, list | tuple | set | dict):
        return f"{type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def name_list(names: Any, *, limit: int = 10) -> str:
    """Names as a list for an error message; beyond `limit` only their number."""
    names = list(names)
    shown = ", ".join(quote(name) for name in names[:limit])
    return f"[{shown}, … {len(names) - limit} more]" if len(names) > limit else f"[{shown}]"
