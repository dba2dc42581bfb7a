"""Bodies of the Open Inference Protocol, their tensors as JSON or as bytes behind it, with shapes that lie."""

import struct
from random import Random

from tests.fuzz.bodies.json_text import MOST_CHARS, damaged, hostile, name
from tests.fuzz.case import Case, one_in
from tests.fuzz.servings import NAMES, path_of_v2

_DATATYPES = ["BOOL", "INT8", "INT32", "INT64", "UINT64", "FP16", "FP32", "FP64", "BYTES", "bytes", "", "INT3"]
_SIZES = [0, 1, 2, 3, 1000, -1, 2**31, 2**63, 2**64, 10**30, 100_000_000]


def infer_json(rng: Random) -> Case:
    """A request whose tensors are JSON."""
    tensors = [_tensor(rng, hostile(rng, NAMES)) for _ in range(_few(rng))]
    tensors *= min(_times(rng), 1 + MOST_CHARS // (1 + sum(map(len, tensors))))
    return _case("v2 json", rng, _request(rng, tensors), None)


def infer_binary(rng: Random) -> Case:
    """A request with bytes behind its JSON, whose lengths fit now and then."""
    tensors: list[str] = []
    tail = b""
    for _ in range(_few(rng)):
        data = _texts(rng) if one_in(rng, 2) else rng.randbytes(rng.choice([0, 1, 8, 64, 8000]))
        told = rng.choice([len(data)] * 5 + _SIZES)
        tail += data
        tensors.append(_tensor(rng, None, told))
    times = _times(rng)
    head, tail = _request(rng, tensors * times), tail * times
    length = rng.choice([len(head)] * 6 + [0, 1, len(head) + len(tail) + 1, 2**63, -1])
    return _case("v2 binary", rng, head + tail, length)


def _few(rng: Random) -> int:
    return rng.choice([0, 1, 1, 2, 2, 8])


def _times(rng: Random) -> int:
    return rng.choice([1] * 12 + [300])


def _texts(rng: Random) -> bytes:
    lengths = [rng.choice([0, 1, 3, 3, 3, 500, 2**31, 2**32 - 1]) for _ in range(rng.choice([1, 3, 2000]))]
    return b"".join(struct.pack("<I", length) + b"a" * min(length, 500) for length in lengths)


def _tensor(rng: Random, data: str | None, binary_bytes: int | None = None) -> str:
    dimensions = rng.choice([1, 1, 2, 2, 3, 1, 2, 40, 2000])
    shape = ",".join(str(rng.choice(_SIZES if one_in(rng, 2) else [0, 1, 1, 2, 3])) for _ in range(dimensions))
    parts = [f'"name":{name(rng, NAMES)}', f'"datatype":"{rng.choice(_DATATYPES)}"', f'"shape":[{shape}]']
    if data is not None:
        parts.append(f'"data":{data}')
    if binary_bytes is not None:
        parts.append(f'"parameters":{{"binary_data_size":{binary_bytes}}}')
    return "{{{}}}".format(",".join(parts))


def _request(rng: Random, tensors: list[str]) -> bytes:
    parts = ['"inputs":[{}]'.format(",".join(tensors))]
    if one_in(rng, 3):
        parts.append(f'"parameters":{hostile(rng, ["binary_data_output", "n", "rate", "classification"])}')
    if one_in(rng, 4):
        wanted = (
            f'{{"name":{name(rng, ["output-0", "a"])},"parameters":{{"binary_data":true,"classification":{10**9}}}}}'
        )
        parts.append('"outputs":[{}]'.format(",".join([wanted] * rng.choice([1, 2, 5000]))))
    if one_in(rng, 4):
        parts.append(f'"id":{hostile(rng, NAMES)}')
    return ("{{{}}}".format(",".join(parts))).encode("utf-8", "surrogatepass")


def _case(kind: str, rng: Random, body: bytes, length: int | None) -> Case:
    headers = {"content-type": "application/json"}
    if length is not None:
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(length)}
    return Case(kind, "serving", "POST", path_of_v2(rng), damaged(rng, body), headers)
