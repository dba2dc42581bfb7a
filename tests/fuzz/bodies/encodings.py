"""Bodies compressed, doubly, in parts, by something else than the header says, or into very little."""

import gzip
import zlib
from dataclasses import replace
from random import Random

import pyarrow as pa

from tests.fuzz.bodies.json_text import damaged
from tests.fuzz.case import Case, one_in


def compressed(rng: Random, case: Case) -> Case:
    """The case with its body compressed."""
    name = rng.choice(["gzip", "gzip", "zstd", "zstd", "x-gzip", "deflate", "br", "gzip, gzip", "identity", "z" * 99])
    match rng.randrange(7):
        case 0:
            # Far more than may be, of nothing.
            body = _squeezed(name, bytes(rng.choice([1_000_000, 80_000_000])))
        case 1:
            body = _squeezed(name, b" " * 4_000_000 + case.body)
        case 2:
            body = gzip.compress(b"", mtime=0) * rng.choice([10, 9_000, 30_000]) + gzip.compress(case.body, mtime=0)
        case 3:
            body = _squeezed(name, _squeezed(name, case.body))
        case _:
            body = _squeezed(name, case.body)
    if one_in(rng, 8):
        body += rng.randbytes(20)
    return replace(
        case, kind=f"{case.kind}, packed", body=damaged(rng, body), headers={**case.headers, "content-encoding": name}
    )


def _squeezed(name: str, body: bytes) -> bytes:
    if "zstd" in name:
        return bytes(pa.Codec("zstd").compress(body).to_pybytes())
    return zlib.compress(body, 1) if name == "deflate" else gzip.compress(body, 1, mtime=0)
