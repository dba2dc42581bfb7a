"""The bodies of a scoring request: bytes in, a checked and typed payload out.

`decode` parses, casts (stage 1) and enforces (stage 2) without building a DataFrame; a payload builds the one
DataFrame, array or dict for itself, or for several that share a merge key. That is what the model takes: it needs no
further enforcement, and passes it unchanged.

Source: mlflow/pyfunc/scoring_server/__init__.py at v3.17.2.
"""

import time
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec

from tiltyard.errors import BadRequest, InvalidParameterValue, UnsupportedMediaType, name_list
from tiltyard.pyfunc.data_types import DataType, scalars_of
from tiltyard.pyfunc.enforcement.params import validate_params
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.json_text import Body
from tiltyard.pyfunc.json_text.bodies import decode_json
from tiltyard.pyfunc.payload import bounds as default
from tiltyard.pyfunc.payload.bounds import CSV_SEPARATORS, JSON_SEPARATORS, Bounds
from tiltyard.pyfunc.payload.casts import Coerce
from tiltyard.pyfunc.payload.columnar.arrow import ARROW_STREAM, read_arrow, read_arrow_at_once
from tiltyard.pyfunc.payload.columnar.parquet import read_parquet
from tiltyard.pyfunc.payload.csv_body import read_csv
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.payload.dataframe_json import read_records, read_split
from tiltyard.pyfunc.payload.tf_serving import read_inputs, read_instances
from tiltyard.pyfunc.payload.typed_json import typed_decoder
from tiltyard.pyfunc.schema import Schema

CONTENT_TYPES = ("text/csv", "application/json", "application/vnd.apache.parquet", ARROW_STREAM)
# As nearly every client spells it; other spellings mean the same.
_JSON_TYPES = ("application/json", "application/json; charset=utf-8")

# Bodies of fewer bytes are decoded within 5 ms whatever they hold: so the event loop may do it. A decoder made for the
# signature takes them by its types alone, so that they may be larger where all columns are of plain types, and larger
# still where few values are seen in them. They must be smaller where values hold others, and above all where those are
# of types that are converted one by one.
AT_ONCE_BYTES = 16 * 1024
TYPED_AT_ONCE_BYTES = 64 * 1024
NESTED_AT_ONCE_BYTES = 8 * 1024
CONVERTED_AT_ONCE_BYTES = 1024
# Of lists and objects each is converted by itself, and some of their values by pandas: that takes 0.1 ms.
AT_ONCE_BRACKETS = 64
_CONVERTED = (DataType.datetime, DataType.binary)
# Forms that may become arrays of texts, which are all as long as the longest.
_ARRAY_FORMS = ("instances", "inputs")

_FORMS = {
    "dataframe_split": read_split,
    "dataframe_records": read_records,
    "instances": read_instances,
    "inputs": read_inputs,
}
_REQUIRED = (
    f"The input must be a JSON dictionary with exactly one of the input fields {{{', '.join(map(repr, _FORMS))}}}"
)
_CHANGED = (
    "IMPORTANT: The MLflow Model scoring protocol has changed in MLflow version 2.0. If you are seeing this error, "
    "you are likely using an outdated scoring request format."
)


class Decoder:
    """Reads the bodies for one signature: what `decode` does, with a parser made for the signature once."""

    def __init__(
        self, signature: Signature | None, *, coerce: Coerce = "strict", bounds: Bounds = default.DEFAULT
    ) -> None:
        self._signature = signature
        self._coerce = coerce
        self._bounds = bounds
        plain = signature is not None and not signature.from_type_hint
        self._typed = typed_decoder(signature.inputs, coerce) if plain and signature is not None else None
        self._at_once_bytes = _at_once_bytes(None if signature is None else signature.inputs)
        inputs = None if signature is None else signature.inputs
        self._is_nested = inputs is not None and any(not isinstance(kind, DataType) for kind in inputs.types)
        if self._typed is not None:
            self._at_once_bytes = min(self._at_once_bytes, self._typed.at_once_bytes)
        # A value, and a row, takes a byte at the least: what is shorter is within the bounds.
        self._unbounded_bytes = min(bounds.values, bounds.rows)
        # Up to here the parser that was made for the signature is asked without a look at anything else.
        self._typed_bytes = 0 if self._is_nested else min(AT_ONCE_BYTES, self._at_once_bytes, self._unbounded_bytes)

    def at_once(self, body: Body, content_type: str | None) -> Payload | None:
        """The payload, if reading it takes at most about 5 ms, told by size and layout alone; else None.

        Raises: as `decode`.
        """
        size_bytes = len(body)
        if size_bytes <= self._typed_bytes and self._typed is not None and content_type in _JSON_TYPES:
            return self._typed(body) or self._general(body, content_type)
        if self._is_nested and (size_bytes > AT_ONCE_BYTES or _brackets(body) > AT_ONCE_BRACKETS):
            return None
        if content_type in _JSON_TYPES:
            if size_bytes <= AT_ONCE_BYTES and size_bytes <= self._at_once_bytes:
                return self(body, content_type)
            typed = self._typed
            is_brief = typed is not None and (size_bytes <= self._at_once_bytes or typed.is_brief(body))
            return typed(body) if typed is not None and is_brief else None
        kind = _media_type(content_type or "")
        if kind == ARROW_STREAM:
            signature = self._signature
            if signature is not None and signature.from_type_hint:
                raise _no_inputs_key([])
            return read_arrow_at_once(body, None if signature is None else signature.inputs, self._bounds)
        brief = size_bytes <= min(AT_ONCE_BYTES, self._at_once_bytes)
        return self(body, content_type) if kind == "application/json" and brief else None

    def __call__(self, body: Body, content_type: str | None) -> Payload:
        """The payload in `body`. Raises: as `decode`."""
        if self._typed is not None and content_type in _JSON_TYPES:
            bounded = len(body) > self._unbounded_bytes
            if bounded:
                self._bounds.check_text(body, JSON_SEPARATORS)
            payload = self._typed(body)
            if payload is not None:
                if bounded:
                    self._bounds.check_rows(payload.rows)
                return payload
        return self._general(body, content_type)

    def _general(self, body: Body, content_type: str | None) -> Payload:
        return decode(body, content_type, self._signature, coerce=self._coerce, bounds=self._bounds)


def decode(
    body: Body,
    content_type: str | None,
    signature: Signature | None,
    *,
    coerce: Coerce = "strict",
    bounds: Bounds = default.DEFAULT,
) -> Payload:
    """The payload in `body`, cast and enforced by the signature.

    Args:
        coerce: `lenient` brings back upstream's silent, lossy casts.
        bounds: what the body may stand for.

    Raises:
        UnsupportedMediaType: no content type, one that is not read, another charset or unknown parameters.
        BadRequest: the body is not what it claims to be, or a value cannot be cast to its column's type.
        PayloadTooLarge: it stands for more than the bounds allow.
        SchemaEnforcementFailed: inputs are missing, or do not fit the signature.
        InvalidParameterValue: params do not fit.
    """
    kind = _media_type(content_type or "")
    inputs = None if signature is None else signature.inputs
    try:
        if kind == "application/json":
            bounds.check_text(body, JSON_SEPARATORS)
            payload = _decode_json(body, signature, coerce, bounds)
        elif kind == "text/csv":
            bounds.check_text(body, CSV_SEPARATORS)
            payload = read_csv(body, inputs, coerce, bounds)
        else:
            payload = (read_arrow if kind == ARROW_STREAM else read_parquet)(body, inputs, bounds)
    except RecursionError:
        raise bounds.too_deep() from None
    if kind != "application/json" and signature is not None and signature.from_type_hint:
        raise _no_inputs_key([])
    bounds.check_rows(payload.rows)
    return payload


def _brackets(body: Body) -> int:
    text = bytes(body)
    return text.count(b"[") + text.count(b"{")


def _at_once_bytes(schema: Schema | None) -> int:
    """Of which size a JSON body for these inputs is still decoded within 5 ms, whatever it holds."""
    if schema is None:
        # It may hold arrays by name, each as short as a value.
        return NESTED_AT_ONCE_BYTES
    if schema.tensors:
        return AT_ONCE_BYTES
    kinds = schema.types
    nested = [kind for kind in kinds if not isinstance(kind, DataType)]
    if nested:
        return (
            CONVERTED_AT_ONCE_BYTES
            if any(kind in _CONVERTED for kind in chain.from_iterable(map(scalars_of, nested)))
            else NESTED_AT_ONCE_BYTES
        )
    return AT_ONCE_BYTES if any(kind in _CONVERTED for kind in kinds) else TYPED_AT_ONCE_BYTES


def _decode_json(body: Body, signature: Signature | None, coerce: Coerce, bounds: Bounds) -> Payload:
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    try:
        fields = decode_json(body, bounds.nesting)
    except RecursionError:
        raise bounds.too_deep() from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        # msgspec's and the codec's texts hold a position, never the input.
        why = "it is not valid UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise BadRequest(
            f"Invalid input. Ensure that input is a valid JSON formatted string. Error: '{why[:200]}'"
        ) from None
    parsed_at_s = time.perf_counter()
    if not isinstance(fields, dict):
        what = "a list" if isinstance(fields, list) else f"unexpected input type '{type(fields).__name__}'"
        raise BadRequest(f"Invalid input. {_REQUIRED}. Received {what}.")
    if signature is not None and signature.from_type_hint:
        if "inputs" not in fields:
            raise _no_inputs_key(fields)
        payload = Payload.raw(fields["inputs"])
    else:
        present = [name for name in _FORMS if name in fields]
        if len(present) != 1:
            raise BadRequest(
                f"{_REQUIRED}. Received dictionary with input fields: {name_list(present or fields)}. {_CHANGED}"
            )
        inputs = None if signature is None else signature.inputs
        if inputs.tensors if inputs is not None else present[0] in _ARRAY_FORMS:
            bounds.check_arrays(fields[present[0]], len(body))
        payload = _FORMS[present[0]](fields[present[0]], inputs, coerce)
    payload.parsed_at_s = parsed_at_s
    params = fields.get("params")
    if params is not None and signature is not None and signature.params is not None:
        payload.params = validate_params(params, signature.params)
        payload.merge_key = None
    return payload


def _no_inputs_key(found: Any) -> InvalidParameterValue:
    return InvalidParameterValue(
        "Request payload must be a dictionary with 'inputs' key when the model contains a valid type hint. "
        f"Found keys in payload: {name_list(found)}."
    )


@lru_cache(maxsize=256)
def _media_type(content_type: str) -> str:
    """The media type, if it is one we read. Raises: UnsupportedMediaType."""
    kind, *pairs = (part.strip() for part in content_type.split(";"))
    parameters = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if pair:
            parameters[key.strip().lower()] = value.strip().strip('"').lower()
    if parameters.pop("charset", "utf-8") not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("The scoring server only supports UTF-8")
    if parameters:
        raise UnsupportedMediaType(
            f"Unrecognized content type parameters: {', '.join(name[:40] for name in parameters)}. {_CHANGED}"
        )
    if kind.lower() not in CONTENT_TYPES:
        raise UnsupportedMediaType(
            "This predictor only supports the following content types: "
            f"Types: {list(CONTENT_TYPES)}. Got '{content_type[:100]}'."
        )
    return kind.lower()


__all__ = ["CONTENT_TYPES", "Body", "Decoder", "Payload", "decode"]
