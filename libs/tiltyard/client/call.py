"""What a call is and what an answer is, without any I/O."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args

import msgspec

from tiltyard.errors import InternalError, TiltyardError, from_answer
from tiltyard.wire.errors import ErrorBody

T = TypeVar("T")
_MAX_ERROR_CHARS = 2000


def signature_of_method(build: Callable[..., Any]) -> inspect.Signature:
    """What `help` shows for the method that sends the calls of `build`: with `self`, and what the call results in."""
    found = inspect.signature(build)
    result = next(iter(get_args(found.return_annotation)), found.return_annotation)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return found.replace(parameters=[itself, *found.parameters.values()], return_annotation=result)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers in lower case, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request to the registry, and how its answer is read.

    `creates` marks a call that may not be repeated once the server may have done it. `wait_s` is how long the
    server may hold the answer back.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    request: msgspec.Struct | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    creates: bool = False
    wait_s: float = 0.0

    def body(self) -> bytes | None:
        """The JSON body, or None when the call has none."""
        return None if self.request is None else msgspec.json.encode(self.request)

    def result(self, answer: Answer) -> T:
        """What the answer says.

        Raises:
            TiltyardError: the answer says no, or cannot be read.
        """
        if answer.status != 304 and not 200 <= answer.status < 300:
            raise error_of(answer)
        return self.read(answer)


def error_of(answer: Answer) -> TiltyardError:
    """The error that a refusing answer means."""
    try:
        body = msgspec.json.decode(answer.body, type=ErrorBody)
        code, message = body.error_code, body.message
    except msgspec.MsgspecError:
        code = None
        text = answer.body.decode("utf-8", "replace").strip()
        message = text[:_MAX_ERROR_CHARS] or f"The server answered with status {answer.status}."
    return from_answer(answer.status, code, message, retry_after_s=retry_after_s(answer))


def retry_after_s(answer: Answer) -> float | None:
    """The seconds that the server asks to be left alone, if it says so in seconds."""
    try:
        return max(0.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def reply(kind: type[msgspec.Struct], part: str | None = None) -> Callable[[Answer], Any]:
    """A reader of JSON answers of `kind`; with `part`, of that one attribute."""

    def read(answer: Answer) -> Any:
        whole = decode(answer.body or b"{}", kind)
        return whole if part is None else getattr(whole, part)

    return read


def nothing(_answer: Answer) -> None:
    """The reader of calls that only change state."""


S = TypeVar("S", bound=msgspec.Struct)


def decode(body: bytes, kind: type[S]) -> S:
    """The Struct that `body` holds. What the protocol lets a server omit, lists and texts, comes back empty.

    Raises:
        InternalError: the body is not JSON of that shape.
    """
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except msgspec.ValidationError:
        pass
    except msgspec.DecodeError:
        raise InternalError("The server's answer is not JSON.") from None
    try:
        whole = _filled(msgspec.json.decode(body), msgspec.inspect.type_info(kind))
        return msgspec.convert(whole, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InternalError(f"The server's answer is not a {kind.__name__}: {error}.") from None


def _filled(value: Any, shape: msgspec.inspect.Type) -> Any:
    if isinstance(shape, msgspec.inspect.ListType) and isinstance(value, list):
        return [_filled(item, shape.item_type) for item in value]
    if not isinstance(shape, msgspec.inspect.StructType) or not isinstance(value, dict):
        return value
    found = dict(value)
    for part in shape.fields:
        if part.encode_name in found:
            found[part.encode_name] = _filled(found[part.encode_name], part.type)
        elif part.required:
            if isinstance(part.type, msgspec.inspect.ListType):
                found[part.encode_name] = []
            elif isinstance(part.type, msgspec.inspect.StrType):
                found[part.encode_name] = ""
            elif isinstance(part.type, msgspec.inspect.StructType):
                found[part.encode_name] = _filled({}, part.type)
    return found
