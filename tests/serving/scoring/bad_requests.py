"""Requests that nobody should send: good ones bent in bytes, tokens, headers, encodings and framing."""

import gzip
import http.client
import io
import json
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from tests.serving.saved_models import IRIS, SETOSA, VIRGINICA
from tests.serving.scoring.test_generated_bodies import BODIES

Headers = tuple[tuple[bytes, bytes], ...]

LIMIT_BYTES = 2_000_000
"""The size of a body that the server under test still reads."""


@dataclass(frozen=True, repr=False)
class Sent:
    """A request as it goes over the wire. Cut off, it may be left without an answer."""

    method: bytes
    path: bytes
    headers: Headers
    body: bytes
    framing: str = "length"

    def __repr__(self) -> str:
        named = f"{self.method!r}, {self.path[:200]!r}, {self.headers!r}, {self.framing!r}"
        return f"Sent({named[:2000]}, {len(self.body)} bytes, {self.body[:1000]!r})"

    @property
    def is_whole(self) -> bool:
        """Whether the server gets a whole request, which it must answer."""
        return self.framing in ("length", "chunked")

    def raw(self) -> bytes:
        """The bytes of the request."""
        head = [b"%s %s HTTP/1.1" % (self.method, self.path), b"Host: test"]
        head += [name + b": " + value for name, value in self.headers]
        if self.framing.startswith("chunked"):
            middle = len(self.body) // 2
            parts = [part for part in (self.body[:middle], self.body[middle:]) if part]
            content = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            content += b"zz\r\n" if self.framing == "chunked broken" else b"0\r\n\r\n"
            return b"\r\n".join([*head, b"Transfer-Encoding: chunked", b"", content])
        length = {
            "length": b"%d" % len(self.body),
            "length too large": b"%d" % (len(self.body) + 10),
            "length no number": b"-1",
            "length twice": b"%d\r\nContent-Length: %d" % (len(self.body), len(self.body) + 1),
            "both": b"%d\r\nTransfer-Encoding: chunked" % len(self.body),
        }[self.framing]
        return b"\r\n".join([*head, b"Content-Length: " + length, b"", self.body])


def send(port: int, sent: Sent, timeout_s: float = 20.0) -> tuple[int, http.client.HTTPMessage, bytes] | None:
    """Status, headers and body of the answer; None when the server closed the connection without one.

    Raises:
        TimeoutError: it did neither in time.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        try:
            connection.sendall(sent.raw())
            if not sent.is_whole:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            # Refused before all of it was sent: the answer may still be there.
            pass
        response = http.client.HTTPResponse(connection, method=sent.method.decode())
        try:
            response.begin()
            return response.status, response.headers, response.read()
        except (ConnectionError, http.client.HTTPException):
            return None


# --- Good requests ----------------------------------------------------------------------------------------


def _frame() -> pd.DataFrame:
    return pd.DataFrame([SETOSA, VIRGINICA], columns=IRIS)


def arrow_stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _odd_table() -> pa.Table:
    """Columns of kinds whose buffers hold offsets, sizes and indices."""
    return pa.table(
        {
            "string": pa.array(["a", None, "ccc"]),
            "double": pa.array(["x", "y", "x"]).dictionary_encode(),
            "numbers": pa.array([[1.0], None, [2.0, 3.0]]),
            "obj": pa.array([{"x": 1}, {"x": None}, None]),
            "sizes": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "datetime": pa.array([1, 2, None], pa.timestamp("us", "UTC")),
            "long": pa.array([1, None, 2**62], pa.int64()),
            "binary": pa.array([b"\xff", None, b""]),
            "float": pa.array([1, 2, 3], pa.decimal128(10, 2)),
        }
    )


def _parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _v2(binary: bool) -> tuple[Headers, bytes]:
    values = np.array([SETOSA, VIRGINICA])
    tensor: dict[str, Any] = {"name": "all", "shape": [2, 4], "datatype": "FP64"}
    tensor |= {"parameters": {"binary_data_size": 64}} if binary else {"data": values.tolist()}
    texts = {"name": "do", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 8}}
    head = json.dumps({"id": "1", "inputs": [tensor, texts] if binary else [tensor]}).encode()
    if not binary:
        return ((b"Content-Type", b"application/json"),), head
    return ((b"Inference-Header-Content-Length", b"%d" % len(head)),), head + values.tobytes() + b"\4\0\0\0text"


def _json(path: str, body: Any) -> Sent:
    return Sent(b"POST", path.encode(), ((b"Content-Type", b"application/json"),), json.dumps(body).encode())


_ENDPOINTS = ["default", "typed", "nested", "squares", "tensors", "params", "probabilities", "unnamed", "required"]
_TYPED = {
    "integer": [1],
    "long": [2**40],
    "float": [1.5],
    "double": [2.5],
    "boolean": [True],
    "string": ["text"],
    "binary": ["YWI="],
    "datetime": ["2024-01-02T03:04:05"],
}
_SEEDS: list[Sent] = [
    _json("/invocations", {"dataframe_split": {"columns": IRIS, "data": [SETOSA, VIRGINICA]}}),
    _json("/invocations", {"dataframe_records": [dict(zip(IRIS, SETOSA, strict=True))]}),
    _json("/serving-endpoints/typed/invocations", {"inputs": _TYPED}),
    _json("/serving-endpoints/typed/invocations", {"dataframe_records": [{k: v[0] for k, v in _TYPED.items()}]}),
    _json("/serving-endpoints/nested/invocations", {"inputs": {"numbers": [[1.0]], "obj": [{"x": 1, "y": "a"}]}}),
    _json("/serving-endpoints/squares/invocations", {"instances": [[[1.0, 2.0], [3.0, 4.0]]]}),
    _json("/serving-endpoints/tensors/invocations", {"inputs": {"a": [1, 2], "b": [0.5, 1.5]}}),
    _json("/serving-endpoints/params/invocations", {"inputs": {"a": [1.0]}, "params": {"n": 2, "stop": ["b"]}}),
    Sent(b"POST", b"/invocations", ((b"Content-Type", b"text/csv"),), _frame().to_csv(index=False).encode()),
    Sent(
        b"POST",
        b"/serving-endpoints/typed/invocations",
        ((b"Content-Type", b"text/csv"),),
        b'integer,string,boolean,float\n1,"a ""b""\n",true,1.5\n2,,false,\n',
    ),
    *(
        Sent(b"POST", b"/serving-endpoints/%s/invocations" % name, ((b"Content-Type", kind),), write(table))
        for kind, write in (
            (b"application/vnd.apache.parquet", _parquet),
            (b"application/vnd.apache.arrow.stream", arrow_stream),
        )
        for name, table in ((b"default", pa.Table.from_pandas(_frame())), (b"typed", _odd_table()))
    ),
    *(Sent(b"POST", b"/v2/models/default/infer", *_v2(binary)) for binary in (True, False)),
    Sent(
        b"PUT",
        b"/api/tiltyard/v1/endpoints/new",
        ((b"Content-Type", b"application/json"),),
        json.dumps({"served_entities": [{"model": "models:/a@b", "traffic_percentage": 100}]}).encode(),
    ),
]


# --- Bent -------------------------------------------------------------------------------------------------

_TOKENS = [
    *(b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e999", b"-1e-999", b"-0", b"null", b"true", b"'", b'"', b"{}"),
    *(b"9" * 5000, b"0." + b"1" * 5000, b"1" + b"0" * 400, b"18446744073709551616", b"-9223372036854775809", b"1."),
    *(b"[" * 100_000, b'{"a":' * 20_000, b"[" * 900 + b"]" * 900, b"[[[]]]", b'"\\ud800"', b'"\\u0000"', b"\x00"),
    *(b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", "é\u202e𝕏".encode(), b'"' + b"x" * 100_000 + b'"', b",,", b"/**/"),
    *(b'"inputs":1,', b'"data":null,', b'"columns":["a","a"],', b'"params":{"n":[]},', b'"shape":[-1],', b'"index":0,'),
    *(b'"binary_data_size":-1,', b'"shape":[2147483647,2147483647],', b'"datatype":"FP16",', b'"parameters":null,'),
]
_CONTENT_TYPES = [
    *(b"application/json", b"text/csv", b"application/vnd.apache.parquet", b"application/vnd.apache.arrow.stream"),
    *(b"application/json; charset=utf-16", b"application/json; format=pandas-split", b"text/plain", b"", b";", b"*/*"),
    *(b"application/json;;charset=", b"multipart/form-data; boundary=x", b"\xff\xfe", b"a/b" * 3000, b"json"),
]
_ODD_HEADERS = [
    (b"Accept", b"text/csv"),
    (b"Accept", b"application/vnd.apache.arrow.stream"),
    (b"Accept", b"text/csv;q=nan, application/json;q=1e999, ;;,"),
    (b"Accept", b"," * 5000),
    (b"X-Request-Id", b"\xff<script>"),
    (b"X-Request-Timeout-S", b"nan"),
    (b"X-Request-Timeout-S", b"-1"),
    (b"X-Request-Timeout-S", b"1e400"),
    (b"Inference-Header-Content-Length", b"-1"),
    (b"Inference-Header-Content-Length", b"999999999999999999999"),
    (b"Inference-Header-Content-Length", b"\xb2"),
    (b"Inference-Header-Content-Length", b"10"),
    (b"Accept-Encoding", b"gzip;q=0, br"),
    (b"Expect", b"100-continue"),
    (b"Connection", b"close"),
    (b"Upgrade", b"h2c"),
    (b"Cookie", b"x" * 8000),
]
_NAMES = ["default", "..", "%2e%2e", "%00", "%ff", "a%2Fb", "x" * 2000, "a.b.c", "@", "%F0%9F%9A%97", "main.ml.m@x", ""]
_PATHS = [
    *(f"/serving-endpoints/{name}/invocations" for name in [*_ENDPOINTS, *_NAMES]),
    *(
        f"/model/{name}/{number}/invocations"
        for name in _NAMES
        for number in ("1", "-1", "9" * 40, "@", "%00", "latest")
    ),
    *(f"/v2/models/{name}/infer" for name in [*_ENDPOINTS, *_NAMES]),
    *(f"/v2/models/{name}/versions/{number}" for name in _NAMES for number in ("1", "x", "")),
    *(f"/api/tiltyard/v1/endpoints/{name}" for name in _NAMES),
    *("/v2", "/v2/", "/v2/health/ready", "//invocations", "/invocations/", "/invocations?%ff=%00", "/invocations#x"),
    *("/health", "/metrics", "/api/tiltyard/v1/models", "/api/tiltyard/v1/schema/openapi.json", "/version", "*"),
]

Bend = Callable[[bytes], bytes]


def _splice(at: float, cut: int, insert: bytes) -> Bend:
    def bend(body: bytes) -> bytes:
        place = int(at * len(body))
        return body[:place] + insert + body[place + cut :]

    return bend


def _grown(body: bytes, size_bytes: int) -> bytes:
    return (body * (size_bytes // max(1, len(body)) + 1))[:size_bytes]


_WHERE = st.floats(0, 1, exclude_max=True)
_BENDS: st.SearchStrategy[Bend] = st.one_of(
    st.builds(_splice, _WHERE, st.integers(0, 3), st.binary(max_size=4)),
    st.builds(_splice, _WHERE, st.integers(0, 20), st.sampled_from(_TOKENS)),
    st.builds(_splice, _WHERE, st.integers(4, 4), st.sampled_from([b"\xff" * 4, b"\0\0\0\x80", b"\xff\xff\xff\x7f"])),
    st.builds(lambda at: lambda body: body[: int(at * len(body))], _WHERE),
    st.builds(lambda at: lambda body: body[int(at * len(body)) :] * 2, _WHERE),
    st.sampled_from(
        [
            lambda body: body.decode("latin-1").encode("utf-16"),
            lambda body: b"\xef\xbb\xbf" + body,
            lambda body: body + b" \n",
            lambda body: body.replace(b":", b":" + body + b",", 1)[:100_000],
            lambda body: _grown(body, LIMIT_BYTES + 1),
            lambda body: _grown(body, LIMIT_BYTES),
        ]
    ),
)


def _gzip_bomb(body: bytes) -> bytes:
    return gzip.compress(b"[" * (LIMIT_BYTES * 10), 9)


def _zstd(body: bytes) -> bytes:
    return pa.compress(body, codec="zstd", asbytes=True)


def _lying_zstd(body: bytes) -> bytes:
    """A frame that claims to hold 2**63 bytes."""
    return b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**63) + body


_ENCODINGS: list[tuple[bytes, Bend]] = [
    (b"gzip", gzip.compress),
    (b"gzip", _gzip_bomb),
    (b"gzip", lambda body: gzip.compress(body)[:-5]),
    (b"gzip", lambda body: gzip.compress(body) + b"x"),
    (b"gzip", lambda body: body),
    (b"x-gzip", lambda body: gzip.compress(b"") * 1000 + gzip.compress(body)),
    (b"zstd", _zstd),
    (b"zstd", lambda body: _zstd(body)[:-2]),
    (b"zstd", lambda body: _zstd(bytes(LIMIT_BYTES * 10))),
    (b"zstd", _lying_zstd),
    (b"zstd", lambda body: body),
    (b"gzip, zstd", gzip.compress),
    (b"deflate", zlib.compress),
    (b"br", lambda body: body),
    (b"", lambda body: body),
    (b"\xff", lambda body: body),
]


@st.composite
def bad_requests(draw: st.DrawFn) -> Sent:
    """A good request with at least one thing wrong; by luck it may still be a good one."""
    seed = draw(st.sampled_from(_SEEDS))
    method, path, headers, body = seed.method, seed.path, list(seed.headers), seed.body
    framing = "length"
    for kind in draw(st.lists(st.sampled_from(_KINDS), min_size=1, max_size=3)):
        if kind == "bend":
            for bend in draw(st.lists(_BENDS, min_size=1, max_size=3)):
                body = bend(body)
        elif kind == "json":
            body = draw(BODIES).encode("utf-8", "surrogatepass")
            headers = [(b"Content-Type", b"application/json")]
            path = b"/serving-endpoints/%s/invocations" % draw(st.sampled_from(_ENDPOINTS)).encode()
        elif kind == "model":
            path = b"/serving-endpoints/%s/invocations" % draw(st.sampled_from(_ENDPOINTS)).encode()
        elif kind == "type":
            headers = [(name, value) for name, value in headers if name != b"Content-Type"]
            headers += [
                (b"Content-Type", value) for value in draw(st.lists(st.sampled_from(_CONTENT_TYPES), max_size=2))
            ]
        elif kind == "header":
            headers += draw(st.lists(st.sampled_from(_ODD_HEADERS), min_size=1, max_size=3))
        elif kind == "encoding":
            name, encode = draw(st.sampled_from(_ENCODINGS))
            headers.append((b"Content-Encoding", name))
            body = encode(body)
        elif kind == "path":
            method = draw(st.sampled_from([b"POST", b"POST", b"GET", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH"]))
            path = draw(st.sampled_from(_PATHS)).encode()
        else:
            framing = draw(st.sampled_from(_FRAMINGS))
    return Sent(method, path, tuple(headers), body, framing)


_KINDS = ["bend", "bend", "bend", "json", "model", "type", "header", "encoding", "path", "framing"]
_FRAMINGS = ["chunked", "chunked broken", "length too large", "length no number", "length twice", "both"]
