"""The error bodies of every path."""

from msgspec import Struct


class ErrorBody(Struct, omit_defaults=True):
    """The protocol's error shape. `request_id` names the log line of a fault of ours."""

    error_code: str
    message: str
    request_id: str | None = None


class ErrorDetail(Struct, rename={"type": "@type"}):
    reason: str
    type: str = "type.googleapis.com/google.rpc.ErrorInfo"


class UnityErrorBody(Struct):
    error_code: str
    message: str
    details: list[ErrorDetail]
