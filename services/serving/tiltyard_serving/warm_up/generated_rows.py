"""Requests with generated rows, by the signature or by what an estimator was fitted on."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tiltyard.errors import TiltyardError
from tiltyard.pyfunc import PyFunc
from tiltyard.pyfunc.data_types import DataType, Name
from tiltyard.pyfunc.payload.dataframe_json import table
from tiltyard.pyfunc.payload.decoder import Payload
from tiltyard.pyfunc.schema import ColSpec, Schema, TensorSpec

# The rows of each request. Their sums have many values, so that what has another size than the rows shows itself.
_SIZES = (1, 1, 1, 2, 1, 3, 1, 2)
_MAX_CELLS = 1_000_000

_Random = np.random.Generator
_CELLS: dict[DataType, Callable[[_Random], Any]] = {
    DataType.boolean: lambda random: bool(random.integers(2)),
    DataType.integer: lambda random: int(random.integers(-100, 100)),
    DataType.long: lambda random: int(random.integers(-100, 100)),
    DataType.float: lambda random: float(np.float32(random.normal(0, 10))),
    DataType.double: lambda random: float(random.normal(0, 10)),
    DataType.string: lambda random: "".join(random.choice(list("abcdefgh"), 3)),
    DataType.binary: lambda random: "".join(random.choice(list("abcdefgh"), 4)),
    DataType.datetime: lambda random: f"20{random.integers(10, 30)}-0{random.integers(1, 9)}-1{random.integers(9)}",
}


def generated(model: PyFunc) -> Iterator[list[Payload]]:
    """Lists of requests that may be merged; none if nothing says what rows look like."""
    signature = model.signature
    schema = None if signature is None or signature.from_type_hint else signature.inputs
    random = np.random.default_rng(0)
    if schema is None:
        names = _fitted_on(model.model) if signature is None else None
        make = None if names is None else _columns([ColSpec(DataType.double, name) for name in names], None)
    else:
        make = _tensors(schema) if schema.tensors else _columns(list(schema.columns), schema)
    if make is None:
        return
    try:
        payloads = [make(random, rows) for rows in _SIZES]
    except TiltyardError:
        return
    key = payloads[0].merge_key
    if key is not None and all(payload.merge_key == key for payload in payloads):
        yield payloads


def _fitted_on(estimator: Any) -> list[Name] | None:
    """The names of the columns that an estimator was fitted on; numbers if they had none."""
    names, count = getattr(estimator, "feature_names_in_", None), getattr(estimator, "n_features_in_", None)
    if names is not None:
        return [str(name) for name in names]
    return list(range(int(count))) if isinstance(count, int | np.integer) else None


def _columns(specs: list[ColSpec], schema: Schema | None) -> Callable[[_Random, int], Payload] | None:
    cells = [_CELLS[spec.type] for spec in specs if isinstance(spec.type, DataType)]
    if not cells or len(cells) < len(specs):
        # Arrays and objects of any size: only an example can say which.
        return None
    names: list[Name] = [number if spec.name is None else spec.name for number, spec in enumerate(specs)]

    def make(random: _Random, rows: int) -> Payload:
        return table([[cell(random) for cell in cells] for _ in range(rows)], names, schema, "strict")

    return make


def _tensors(schema: Schema) -> Callable[[_Random, int], Payload] | None:
    specs = schema.tensors
    if not all(_is_generated(spec) for spec in specs):
        return None

    def one(random: _Random, spec: TensorSpec, rows: int) -> Any:
        return random.normal(0, 10, (rows, *spec.shape[1:])).astype(spec.dtype)

    def make(random: _Random, rows: int) -> Payload:
        if not schema.is_named:
            return Payload.tensor(one(random, specs[0], rows))
        return Payload.tensors({spec.name: one(random, spec, rows) for spec in specs})

    return make


def _is_generated(spec: TensorSpec) -> bool:
    sizes = spec.shape[1:]
    return (
        np.dtype(spec.dtype).kind in "biuf"
        and len(spec.shape) > 0
        and spec.shape[0] == -1
        and all(size > 0 for size in sizes)
        and int(np.prod(sizes, initial=1)) <= _MAX_CELLS // sum(_SIZES)
    )
