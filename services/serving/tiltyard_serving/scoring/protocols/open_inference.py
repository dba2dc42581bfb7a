"""The Open Inference Protocol V2: a request of bytes to its tensors, and what a model returned to an answer.

Source: https://github.com/kserve/open-inference-protocol and the binary tensor data extension of Triton.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from tiltyard.errors import BadRequest, UnsupportedMediaType
from tiltyard.pyfunc.data_types import DataType, has_lists, scalars_of
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.json_text.bodies import decode_json, without_constants
from tiltyard.pyfunc.json_text.nesting import is_deeper
from tiltyard.pyfunc.payload.bounds import DEFAULT as DEFAULT_BOUNDS
from tiltyard.pyfunc.payload.bounds import JSON_SEPARATORS, Bounds
from tiltyard.pyfunc.payload.decoder import Body
from tiltyard.pyfunc.payload.memory import memory_bytes
from tiltyard.pyfunc.payload.output import encode as encode_plainly
from tiltyard.pyfunc.payload.output import escaped, long_json, to_jsonable
from tiltyard.server.direct import JSON, Header, Reply
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.operations.memory import decoding
from tiltyard_serving.scoring.protocols.infer_messages import InferReply, InferRequest, RequestedOutput
from tiltyard_serving.scoring.protocols.protocol import Decoded, ScoringProtocol
from tiltyard_serving.scoring.protocols.tensor_payload import to_payload
from tiltyard_serving.scoring.protocols.tensors import (
    Tensor,
    bad,
    from_bytes,
    from_json,
    outputs_of,
    shape_of,
    to_bytes,
)
from tiltyard_serving.scoring.replies import error_reply
from tiltyard_serving.scoring.request_head import RequestHead

BINARY = b"application/octet-stream"
JSON_LENGTH = b"inference-header-content-length"

_OF_FORMS = frozenset({"text/plain", "multipart/form-data", "application/x-www-form-urlencoded"})
# So much JSON is read within 5 ms whatever it says, and so many bytes of numbers beside it.
_AT_ONCE_JSON_BYTES = 12 * 1024
_AT_ONCE_BYTES = 512 * 1024
_AT_ONCE_DATES_BYTES = 1024
# A larger text would keep others waiting.
IN_PIECES_BYTES = 512 * 1024


def is_brief(body: bytes, json_bytes: int | None) -> bool:
    """Whether a request takes so little time to read that the event loop may do it."""
    if json_bytes is None or json_bytes >= len(body):
        return len(body) <= _AT_ONCE_JSON_BYTES
    # Texts are read one by one, numbers as they are.
    return (
        json_bytes <= _AT_ONCE_JSON_BYTES
        and len(body) <= _AT_ONCE_BYTES
        and (len(body) <= _AT_ONCE_JSON_BYTES or b"BYTES" not in body[:json_bytes])
    )


def is_brief_to_convert(size_bytes: int, signature: Signature | None) -> bool:
    """Whether what was read from a brief body takes so little time to be made the model's input, too.

    Lists, and dates inside of objects, are read one by one, each as if it were a column.
    """
    if signature is None or signature.inputs is None:
        return True
    nested = [kind for kind in signature.inputs.types if not isinstance(kind, DataType)]
    if any(map(has_lists, nested)):
        return False
    return size_bytes <= _AT_ONCE_DATES_BYTES or not any(DataType.datetime in scalars_of(kind) for kind in nested)


def read(body: bytes, json_bytes: int | None, bounds: Bounds = DEFAULT_BOUNDS) -> tuple[InferRequest, dict[str, Any]]:
    """The request, and its tensors as arrays by name.

    Args:
        json_bytes: how much of the body is JSON; None is all of it.
        bounds: what the body may stand for.

    Raises:
        BadRequest: it is malformed; the tensor is named.
        PayloadTooLarge: it holds more than the bounds allow.
    """
    end = len(body) if json_bytes is None else json_bytes
    if end > len(body):
        raise BadRequest(f"Inference-Header-Content-Length is {end}, but the body has {len(body)} bytes.")
    bounds.check_text(memoryview(body)[:end], JSON_SEPARATORS)
    try:
        request = _request(body[:end], bounds.nesting)
    except RecursionError:
        raise bounds.too_deep() from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        why = str(error)[:200] if isinstance(error, msgspec.MsgspecError) else type(error).__name__
        raise BadRequest(f"The inference request cannot be read: {why}.") from None
    if not request.inputs:
        raise BadRequest("The inference request has no inputs.")
    bounds.check_columns(len(request.inputs))
    named = [output.name for output in request.outputs or ()]
    if len(set(named)) < len(named):
        # Each would be written again: a small request could ask for a very large answer.
        raise BadRequest("The inference request names an output twice.")
    arrays: dict[str, Any] = {}
    for tensor in request.inputs:
        if tensor.name in arrays:
            raise BadRequest(f"Input '{tensor.name[:100]}' is there twice.")
        shape = shape_of(tensor)
        if tensor.data is not msgspec.UNSET:
            arrays[tensor.name] = from_json(tensor, shape)
            continue
        size_bytes = tensor.parameters.get("binary_data_size")
        if type(size_bytes) is not int or not 0 <= size_bytes <= len(body) - end:
            raise bad(tensor, "it has neither 'data' nor a 'binary_data_size' that the body can hold")
        arrays[tensor.name] = from_bytes(tensor, shape, body[end : end + size_bytes])
        end += size_bytes
    if end != len(body):
        raise BadRequest(f"The body has {len(body) - end} bytes more than its tensors.")
    return request, arrays


def _request(text: bytes, max_levels: int) -> InferRequest:
    if len(text) > IN_PIECES_BYTES:
        return msgspec.convert(decode_json(text, max_levels), InferRequest)
    if is_deeper(text, max_levels):
        raise RecursionError
    try:
        return msgspec.json.decode(text, type=InferRequest)
    except msgspec.DecodeError as error:
        # A message of another form is no matter of bare NaN.
        if isinstance(error, msgspec.ValidationError) or without_constants(text) is None:
            raise
    return msgspec.convert(decode_json(text, max_levels), InferRequest)


def write(
    predictions: Any, request: InferRequest, name: str, version: str, bounds: Bounds = DEFAULT_BOUNDS
) -> tuple[bytes, int | None]:
    """The reply's body, and how much of it is JSON when binary tensors follow.

    Raises:
        PayloadTooLarge: a list of it is longer than an answer may be.
        BadRequest: an output is asked for that there is not, or the predictions are no tensors.
    """
    outputs = outputs_of(predictions)
    wanted = request.outputs if request.outputs is not None else [RequestedOutput(each) for each in outputs]
    all_binary = request.parameters.get("binary_data_output") is True
    tensors: list[Tensor] = []
    buffers: list[bytes] = []
    for asked in wanted:
        if asked.name not in outputs:
            raise BadRequest(f"There is no output '{asked.name[:100]}', expected one of: {', '.join(outputs)[:300]}.")
        output = outputs[asked.name]
        tensor = Tensor(asked.name, output.shape, output.datatype)
        if asked.parameters.get("binary_data", all_binary) is True:
            data = to_bytes(asked.name, output)
            tensor.parameters = {"binary_data_size": len(data)}
            buffers.append(data)
        else:
            tensor.data = long_json(output.values, bounds) or to_jsonable(output.values)
        tensors.append(tensor)
    head = _encoded(InferReply(name, version, tensors, request.id))
    return (b"".join([head, *buffers]), len(head)) if buffers else (head, None)


def _encoded(reply: InferReply) -> bytes:
    try:
        return msgspec.json.encode(reply)
    except UnicodeEncodeError:
        # Texts of half a character, which JSON can say as escapes.
        for tensor in reply.outputs:
            if tensor.data is not msgspec.UNSET:
                tensor.data = escaped(tensor.data)
    try:
        return msgspec.json.encode(reply)
    except UnicodeEncodeError:
        raise BadRequest("The name of an output is a text that UTF-8 cannot say.") from None


class InferFormat:
    """Writes the answer to one request, and keeps what the model has said."""

    def __init__(self, asked: InferRequest, model: LoadedModel) -> None:
        self.content_type = JSON
        self.headers: tuple[Header, ...] = ()
        self._asked = asked
        self._name, self._version, self._bounds = model.name, model.version, model.bounds
        self._predictions: Any = None

    def encode(self, predictions: Any) -> bytes:
        """The answer, of which the headers tell how much is JSON when other bytes follow."""
        self._predictions = predictions
        content, json_bytes = write(predictions, self._asked, self._name, self._version, self._bounds)
        if json_bytes is not None:
            self.content_type, self.headers = BINARY, ((JSON_LENGTH, b"%d" % json_bytes),)
        return content

    def comparable(self, answer: bytes) -> Callable[[], bytes]:
        """All that the model said, whichever outputs were asked for, and in which form."""
        del answer
        return partial(encode_plainly, self._predictions)


def _at_once(model: LoadedModel, body: Body, head: RequestHead) -> Decoded | None:
    _check_media_type(head.content_type)
    json_bytes = _json_bytes(head)
    if is_brief(bytes(body), json_bytes) and is_brief_to_convert(len(body), model.signature):
        return _decoded(model, bytes(body), json_bytes)
    return None


def _decode(model: LoadedModel, body: Body, head: RequestHead) -> Decoded:
    with decoding(len(body)):
        payload, form = _decoded(model, bytes(body), _json_bytes(head))
    payload.memory_bytes = memory_bytes(payload.data, body)
    return payload, form


def _decoded(model: LoadedModel, body: bytes, json_bytes: int | None) -> Decoded:
    asked, arrays = read(body, json_bytes, model.bounds)
    parsed_at_s = time.perf_counter()
    payload = to_payload(asked, arrays, model.signature)
    model.bounds.check_rows(payload.rows)
    payload.parsed_at_s = parsed_at_s
    return payload, InferFormat(asked, model)


def _check_media_type(content_type: str | None) -> None:
    """Refuses what any page may send to any site, without a browser asking first whether it may.

    Raises:
        UnsupportedMediaType
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type in _OF_FORMS:
        raise UnsupportedMediaType(f"The content type '{media_type}' is not read here, expected application/json.")


def _json_bytes(head: RequestHead) -> int | None:
    text = head.header(JSON_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadRequest(f"Inference-Header-Content-Length must be a number of bytes, got '{text[:40]}'.")
    return int(text)


def refusal(error: Exception, request_id: str | None = None) -> Reply:
    """The answer that says what is wrong, in this protocol's shape."""
    return in_shape(error_reply(error, request_id))


def in_shape(reply: Reply) -> Reply:
    """The refusal `reply` as this protocol words it."""
    try:
        message = msgspec.json.decode(reply.body)["message"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        message = reply.body.decode(errors="replace")
    return reply._replace(body=msgspec.json.encode({"error": message}), content_type=JSON)


OPEN_INFERENCE = ScoringProtocol(_at_once, _decode, refusal, gzips=True)
