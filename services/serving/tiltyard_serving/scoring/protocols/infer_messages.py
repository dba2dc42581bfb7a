"""The messages of the Open Inference Protocol V2."""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from tiltyard.pyfunc.data_types import Array, DataType, Type
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.schema import ColSpec, Schema
from tiltyard_serving.scoring.protocols.tensors import BYTES, DATATYPES, OUTPUT, Tensor


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] | None = None


class InferReply(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str | None = None


class TensorAbout(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class ModelAbout(msgspec.Struct):
    """The metadata of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorAbout]
    outputs: list[TensorAbout]


def about(name: str, version: str, signature: Signature | None) -> ModelAbout:
    """The metadata that a signature gives; without one there are no inputs to name."""
    inputs = None if signature is None else signature.inputs
    outputs = None if signature is None else signature.outputs
    return ModelAbout(name, [version], "mlflow_pyfunc", list(_about(inputs, "input")), list(_about(outputs, OUTPUT)))


def _about(schema: Schema | None, unnamed: str) -> Iterator[TensorAbout]:
    if schema is None:
        return
    for spec, name in zip(schema.inputs, schema.names, strict=True):
        shown = name if isinstance(name, str) else unnamed if len(schema.inputs) == 1 else str(name)
        if isinstance(spec, ColSpec):
            leaf, dimensions = leaf_of(spec.type)
            yield TensorAbout(shown, COLUMN_TYPES.get(leaf, BYTES), [-1] * dimensions)
        elif spec.dtype in DATATYPES or np.dtype(spec.dtype).kind in "OUSM":
            yield TensorAbout(shown, DATATYPES.get(spec.dtype, BYTES), list(spec.shape))


def leaf_of(kind: Type) -> tuple[Type, int]:
    """What a column's tensor holds, and its number of dimensions: arrays of plain values have more than one."""
    dimensions, leaf = 1, kind
    while isinstance(leaf, Array):
        dimensions, leaf = dimensions + 1, leaf.items
    return (leaf, dimensions) if isinstance(leaf, DataType) else (kind, 1)


COLUMN_TYPES: dict[Type, str] = {
    DataType.boolean: "BOOL",
    DataType.integer: "INT32",
    DataType.long: "INT64",
    DataType.float: "FP32",
    DataType.double: "FP64",
}
