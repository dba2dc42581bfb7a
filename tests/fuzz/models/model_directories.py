"""Model directories whose files are deep, vast, of wrong types, cut, or say what is not so."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import yaml

from tests.fuzz.bodies.json_text import damaged, hostile, value
from tests.fuzz.case import one_in

_PICKLES = (".pkl", ".pickle", ".cloudpickle", ".pth", ".statsmodels")
_NATIVE = (".lgb", ".xgb", ".ubj", ".cb", ".onnx", "model.json")
# The files beside the model itself.
_BESIDE = frozenset(
    (
        "MLmodel",
        "conda.yaml",
        "python_env.yaml",
        "requirements.txt",
        "pyproject.toml",
        "uv.lock",
        "input_example.json",
        "serving_input_example.json",
    )
)


class Spoiled(NamedTuple):
    """What is wrong with a directory.

    Attributes:
        file: the file that is.
        runs: whether the file is code, or a pickle, with bytes of it changed: then it may do anything to the process
            that reads it, and nobody can say what comes of it.
        native: whether a library reads the file that may end its process: then a server must not be that process.
    """

    file: str
    runs: bool
    native: bool = False

    @property
    def kind(self) -> str:
        """What it is counted under."""
        return self.file if self.file == "MLmodel" else Path(self.file).suffix or self.file


def spoil(rng: Random, directory: Path) -> Spoiled:
    """Makes one file of a good model directory hostile, and says which."""
    files = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    own = [file for file in files if Path(file).name not in _BESIDE]
    name = rng.choice(["MLmodel", "MLmodel", *rng.choice([own or files, files])])
    path = directory / name
    spoilers: list[Callable[[Random, bytes], bytes]] = [_any_bytes, _cut]
    if name == "MLmodel":
        spoilers += [_field, _field, _signature, _signature, _yaml]
    elif name.endswith((".yaml", ".yml")):
        spoilers += [_yaml, _yaml]
    elif name.endswith(".json"):
        spoilers += [_json, _json]
    elif name.endswith(_PICKLES):
        spoilers += [_pickle, _pickle]
    elif name.endswith(".skops"):
        spoilers += [_zip, _zip]
    elif name.endswith(".txt"):
        spoilers += [_lines]
    spoiler = rng.choice(spoilers)
    path.write_bytes(spoiler(rng, path.read_bytes()))
    native = name.endswith(_NATIVE)
    return Spoiled(name, runs=spoiler is _cut and name.endswith((*_PICKLES, ".py")), native=native)


def _any_bytes(rng: Random, _: bytes) -> bytes:
    return rng.choice(
        [b"", b"\x00" * 5000, rng.randbytes(3000), b"\xff\xfea\x00", b"a: b\n" * 100_000, b"x" * 9_000_000]
    )


def _cut(rng: Random, content: bytes) -> bytes:
    return damaged(rng, content) if one_in(rng, 2) else content[: rng.randrange(len(content) + 1)]


def _yaml(rng: Random, content: bytes) -> bytes:
    match rng.randrange(8):
        case 0:
            lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
            lines += [f"a{at}: &a{at} [{','.join([f'*a{at - 1}'] * 9)}]" for at in range(1, rng.choice([6, 30]))]
            return "\n".join(lines).encode() + b"\n" + content
        case 1:
            return rng.choice([b"[", b"{a: ", b"- "]) * rng.choice([60, 5000, 200_000])
        case 2:
            return content + b"\nb: " + b"1:" * rng.choice([10, 20_000]) + b"1\n"
        case 3:
            return b"&a [*a]\n" if one_in(rng, 2) else b"&a {*a : *a}\n"
        case 4:
            return content + b"\n<<: &b {x: 1}\n" + b"<<: *b\n" * 50_000
        case 5:
            return b"!!python/object/apply:os.system ['true']\n"
        case 6:
            return content + b"\n? " + b"[a]\n" + b"t: 2024-99-99\nn: .nan\nx: !!binary '!!!'\n"
        case _:
            return b"a: &a 1\n" * 30_000 + content


def _field(rng: Random, content: bytes) -> bytes:
    """One field of MLmodel of another type, or vast."""
    told = yaml.safe_load(content)
    place = told
    while True:
        key = rng.choice(list(place))
        if not isinstance(place[key], dict) or not place[key] or one_in(rng, 3):
            break
        place = place[key]
    place[key] = rng.choice(
        [None, 1, 1.5, True, [], {}, "", "\x00", "../" * 20, "a" * 1_000_000, [[]] * 9, {"a": 1}, "os.system", 10**400]
    )
    return yaml.safe_dump(told).encode()


def _signature(rng: Random, content: bytes) -> bytes:
    """A signature whose columns are not what they say, or very many, or very deep."""
    told = yaml.safe_load(content)
    place = rng.choice(["inputs", "outputs", "params"])
    depth = rng.choice([1, 40, 3000])
    array = '{"type":"array","items":' * depth + '{"type":"long"}' + "}" * depth
    tensor = {"type": "tensor", "tensor-spec": {"dtype": rng.choice(["float64", "object", "V99999", "<U9999999"])}}
    tensor["tensor-spec"]["shape"] = rng.choice([[-1], [10**9, 10**9], [-5], [], None, [1] * 5000, ["a"]])
    text = rng.choice(
        [
            '[{"name":"a",' + array[1:] + "]",
            json.dumps([tensor]),
            json.dumps([{"name": f"c{at}", "type": "long"} for at in range(rng.choice([2, 50_000]))]),
            json.dumps([{"name": "a", "type": rng.choice(["x", "", None, 5, [], "map", "object", "array"])}] * 2),
            json.dumps(
                [{"name": "p", "type": "integer", "default": rng.choice(["a", 10**400, [], None]), "shape": [9]}]
            ),
            hostile(rng, ["name", "type", "required", "items", "properties", "values", "tensor-spec", "default"]),
            value(rng, ["name", "type"], 3),
        ]
    )
    told["signature"] = {**(told.get("signature") or {}), place: text if not one_in(rng, 8) else [text]}
    return yaml.safe_dump(told).encode()


def _json(rng: Random, _: bytes) -> bytes:
    return hostile(rng, ["dataframe_split", "inputs", "columns", "data", "index"]).encode("utf-8", "surrogatepass")


def _pickle(rng: Random, content: bytes) -> bytes:
    """A pickle that ends too early, tells lengths that are not so, or nests without end."""
    huge = rng.choice([2**31 - 1, 2**40, 2**63 - 1])
    return rng.choice(
        [
            content[: rng.randrange(len(content))],
            b"\x80\x05\x95" + struct.pack("<Q", huge) + b"N.",
            b"\x80\x05\x8e" + struct.pack("<Q", huge) + b"a.",
            b"\x80\x05\x8d" + struct.pack("<Q", huge) + b"a.",
            b"\x80\x04" + b"(" * 500_000 + b".",
            b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".",
            b"\x80\x04cnumpy\nzeros\n(J\xff\xff\xff\x7f",
            b"\x80\x04r\xff\xff\xff\x7fN.",
            pickle.dumps(rng.choice([None, 5, "text", {}, [1], print])),
        ]
    )


def _lines(rng: Random, _: bytes) -> bytes:
    return rng.choice(
        [b"-r requirements.txt\n", b"--index-url http://127.0.0.1:9/\n", b"a" * 1_000_000, b"a==1\n" * 50_000]
    )


def _zip(rng: Random, content: bytes) -> bytes:
    """An archive whose entries are vast, missing, or changed."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return content
    name = rng.choice(sorted(entries))
    match rng.randrange(4):
        case 0:
            entries[name] = damaged(rng, entries[name])
        case 1:
            del entries[name]
        case 2:
            entries[name] = bytes(rng.choice([10_000_000, 100_000_000]))
        case _:
            text = entries.get("schema.json", b"{}").decode()
            told = rng.choice(["9" * 30, "[" * 5000, "null", '"numpy.ndarray"', "-1"])
            entries["schema.json"] = text.replace(
                rng.choice([": 1", ": 3", '"float64"', '"str"']), f": {told}"
            ).encode()
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    return sink.getvalue()
