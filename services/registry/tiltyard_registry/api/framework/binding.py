"""Request bodies, from bytes to a wire Struct, by the protocol's rules.

A body that decodes straight into its Struct costs one decode. Everything else (camelCase names, nulls, a JSON
text that holds JSON, numbers beyond 64 bits, NUL characters, mistakes) takes the second, careful look.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Container, Generator
from typing import Any, ClassVar, TypeVar

import msgspec
from litestar import Request
from litestar._openapi.schema_generation import SchemaCreator
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition
from typing_extensions import override

from tiltyard.errors import InvalidParameterValue, TiltyardError
from tiltyard.server.body_memory import Held
from tiltyard_registry.api.framework.body_limits import (
    AT_ONCE_BYTES,
    DEFAULT_MAX_VALUES,
    HELD,
    PIECE_BYTES,
    check_values,
)
from tiltyard_registry.rules import keys

T = TypeVar("T")

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1

# No parameter has a longer name.
_MAX_NAME = 100
# What the straight decode would read without seeing: a camelCase name, an escaped NUL, a number over 64 bits.
_NEEDS_CARE = re.compile(rb'"[a-z]{1,99}[A-Z][A-Za-z0-9]{0,99}"\s{0,99}:|\\u0000|\d{19}')
_OVERLAP_BYTES = 400
_CAMEL = re.compile(r"[a-z][a-z0-9]*([A-Z][a-z0-9]*)+")
_AT = re.compile(r" - at `\$(.*)`$")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_EMPTY = "Expected `str` of length >= 1"
_JSON_TYPES = {list: "an array", str: "a text", bool: "a boolean", int: "a number", float: "a number"}


class ProtocolRequest(Request[Any, Any, Any]):
    """A request whose absent body reads as an empty object, as upstream reads it.

    A large body is decoded here, in a thread; a small one where its handler wants it.
    """

    decoded: Callable[[], Any] | None = None

    async def body(self) -> bytes:
        body = await super().body() or b"{}"
        handler_id = self.route_handler.handler_id
        if len(body) > AT_ONCE_BYTES and self.decoded is None and handler_id in Body.annotations:
            max_values = self.app.state.settings.max_values
            content_type, kind = self.headers.get("content-type"), Body.annotations[handler_id]
            self.decoded = await asyncio.to_thread(_outcome, body, content_type, kind, max_values)
        return body

    async def stream(self) -> AsyncGenerator[bytes, None]:
        held: Held | None = self.scope["state"].get(HELD)
        async for chunk in super().stream():
            if held is not None:
                held.take(len(chunk))
            yield chunk


class Body(AbstractDTO[Any]):
    """Hands the handlers' `data` over to `decode`."""

    annotations: ClassVar[dict[str, Any]] = {}

    def decode_bytes(self, value: bytes) -> Any:
        connection: ASGIConnection[Any, Any, Any, Any] = self.asgi_connection
        if isinstance(connection, ProtocolRequest) and connection.decoded is not None:
            return connection.decoded()
        handler_id = connection.route_handler.handler_id
        max_values = connection.app.state.settings.max_values
        return decode(value, connection.headers.get("content-type"), self.annotations[handler_id], max_values)

    @classmethod
    @override
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        cls.annotations[handler_id] = field_definition.annotation

    @classmethod
    @override
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: SchemaCreator
    ) -> Reference | Schema:
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    @override
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        yield from ()

    @classmethod
    @override
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        return False


def decode(body: bytes, content_type: str | None, kind: type[T], max_values: int = DEFAULT_MAX_VALUES) -> T:
    """`body` as a `kind`.

    Raises:
        PayloadTooLarge: it holds more than `max_values` values.
        InvalidParameterValue: the content type is not JSON, the body is not JSON, or a parameter is missing,
            of a wrong type, out of range or spelled twice; the message names it.

    Source: mlflow/server/handlers.py, `_get_request_message` and `_validate_param_against_schema`.
    """
    _check_content_type(content_type)
    check_values(body, max_values)
    # Piece by piece, so that other threads get their turn in between.
    starts = range(0, len(body), PIECE_BYTES)
    if not any(_NEEDS_CARE.search(body, max(0, at - _OVERLAP_BYTES), at + PIECE_BYTES) for at in starts):
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return convert(json_object(body, kind), kind)


async def decode_aside(body: bytes, content_type: str | None, kind: type[T], max_values: int) -> T:
    """What `decode` gives, from a thread where the body is large. Raises: as `decode`."""
    if len(body) <= AT_ONCE_BYTES:
        return decode(body, content_type, kind, max_values)
    return await asyncio.to_thread(decode, body, content_type, kind, max_values)


def _outcome(body: bytes, content_type: str | None, kind: type[T], max_values: int) -> Callable[[], T]:
    """A function that gives what `decode` gave, or raises what it raised."""
    try:
        value = decode(body, content_type, kind, max_values)
    except TiltyardError as error:
        refused = error

        def refuse() -> T:
            raise refused

        return refuse
    return lambda: value


def _check_content_type(content_type: str | None) -> None:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        shown = f"got '{media_type[:80]}'" if media_type else "it is missing"
        raise InvalidParameterValue(f"Bad Request. Content-Type must be 'application/json', {shown}.")


def json_object(body: bytes, kind: type[Any] | None = None) -> dict[str, Any]:
    """The JSON object in `body`, with snake_case names and without what is null; nothing at all is an empty one.

    With a `kind`, without the parameters that it does not have.

    Raises:
        InvalidParameterValue: it is not JSON, not an object, or spells a parameter twice.
    """
    try:
        raw = _load(body or b"{}")
        if isinstance(raw, str):
            # Old clients send JSON within a JSON text.
            raw = _load(raw.encode())
        known = None
        if kind is not None and issubclass(kind, msgspec.Struct):
            known = {field.encode_name for field in msgspec.structs.fields(kind)}
        raw = {} if raw is None else _normalised(raw, "", known)
    except RecursionError:
        raise InvalidParameterValue("The request body is nested too deeply.") from None
    if not isinstance(raw, dict):
        raise InvalidParameterValue(
            f"The request body must be a JSON object, got {_JSON_TYPES.get(type(raw), 'something else')}."
        )
    return raw


def convert(raw: dict[str, Any], kind: type[T]) -> T:
    """Builtin values as a `kind`.

    Raises:
        InvalidParameterValue: a parameter is missing or wrong; the message names it.
    """
    try:
        value = msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        raise refusal(str(error), raw) from None
    check_leaves(msgspec.to_builtins(value), "")
    return value


def refusal(message: str, raw: Any) -> InvalidParameterValue:
    """What a failed conversion of `raw` means, in the protocol's words.

    Args:
        message: the decoder's, such as 'Expected `int`, got `str` - at `$.step`'.
        raw: the value that was converted, to quote what was wrong in it.
    """
    at = _AT.search(message)
    path = (at[1] if at else "").lstrip(".")
    if missing := _MISSING.match(message):
        return keys.missing(f"{path}.{missing[1]}" if path else missing[1])
    if message.startswith(_EMPTY):
        return keys.missing(path)
    return InvalidParameterValue(invalid(path, _at(raw, path), message.partition(" - at ")[0]))


def invalid(path: str, value: Any, reason: str = "") -> str:
    """The protocol's words for a parameter of a wrong type or out of range."""
    try:
        shown = msgspec.json.encode(value).decode()
    except (TypeError, msgspec.MsgspecError, UnicodeEncodeError):
        shown = "null"
    if len(shown) > 200:
        shown = f"{shown[:200]}…"
    detail = f" {reason}." if reason else ""
    kind = type(value).__name__
    hint = f"Hint: Value was of type '{kind}'.{detail} {keys.SEE_DOCS}"
    return f"Invalid value {shown} for parameter '{path}' supplied:  {hint}"


def _load(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise InvalidParameterValue("The request body is not valid JSON: it is not UTF-8 text.") from None
    except msgspec.DecodeError as error:
        reason = str(error).partition(" - at ")[0]
        raise InvalidParameterValue(f"The request body is not valid JSON: {reason}.") from None


def _normalised(value: Any, path: str, known: Container[str] | None = None) -> Any:
    """`value` with snake_case names, of those that are `known`, and without what is null, which is unset."""
    if isinstance(value, list):
        return [_normalised(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    snake: dict[str, Any] = {}
    for name, item in value.items():
        field = _snake(name)
        inner = f"{path}.{field}" if path else field
        if field in snake or (field != name and field in value):
            raise InvalidParameterValue(
                f"Parameter '{inner}' is given twice, as '{field}' and in another spelling. {keys.SEE_DOCS}"
            )
        if item is not None and (known is None or field in known):
            snake[field] = _normalised(item, inner)
    return snake


def _snake(name: str) -> str:
    if len(name) > _MAX_NAME or not _CAMEL.fullmatch(name):
        return name
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)


def camel(name: str) -> str:
    """The other spelling of a name: `runId` for `run_id`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def check_leaves(value: Any, path: str) -> None:
    """Refuses what no database column holds: integers beyond 64 bits, NUL in a text."""
    if isinstance(value, dict):
        for name, item in value.items():
            check_leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_leaves(item, f"{path}[{index}]")
    elif isinstance(value, str):
        if "\0" in value:
            raise InvalidParameterValue(invalid(path, value, "A text may not hold the NUL character"))
    elif isinstance(value, int) and not _MIN_INT <= value <= _MAX_INT:
        raise InvalidParameterValue(invalid(path, value, "An integer has at most 64 bits"))


def _at(raw: Any, path: str) -> Any:
    """The value at a path such as `metrics[0].key`, or None when it cannot be followed."""
    for part in re.findall(r"\w+", path):
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        else:
            return None
    return raw
