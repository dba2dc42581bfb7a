"""Model directories whose files are deep, vast, of wrong types, cut, or say what is not so."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import yaml

from tests.fuzz.case import one_in
from tests.fuzz.json_text import damaged, hostile, value


def spoil(rng: Random, directory: Path) -> str:
    """Makes one file of a good model directory hostile, and gives the name of the file."""
    files = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    name = rng.choice(["MLmodel", "MLmodel", "MLmodel", *files])
    path = directory / name
    spoilers: list[Callable[[Random, bytes], bytes]] = [_any_bytes, _cut]
    if name == "MLmodel":
        spoilers += [_field, _field, _signature, _signature, _yaml]
    elif name.endswith((".yaml", ".yml")):
        spoilers += [_yaml, _yaml]
    elif name.endswith(".json"):
        spoilers += [_json, _json]
    elif name.endswith((".pkl", ".cloudpickle")):
        spoilers += [_pickle, _pickle]
    elif name.endswith(".txt"):
        spoilers += [_lines]
    path.write_bytes(rng.choice(spoilers)(rng, path.read_bytes()))
    return name


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
