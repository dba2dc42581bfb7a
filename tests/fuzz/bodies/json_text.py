"""JSON as text, so that it may also be what no JSON library would write."""

import json
from collections.abc import Sequence
from random import Random

from tests.fuzz.case import one_in

SCALARS = (
    *(
        "null",
        "true",
        "false",
        "0",
        "-1",
        "-0",
        "1.5",
        "3",
        "1e400",
        "-1e400",
        "1e-400",
        "NaN",
        "Infinity",
        "-Infinity",
    ),
    *("2147483648", "9223372036854775808", "18446744073709551616", "9" * 400, "0." + "1" * 400, "1" + "0" * 5000),
    *('""', '"a"', '"YWI="', '"!!!="', '"2024-01-01"', '"9999999-99-99T99:99"', '"nan"', '"true"', '"\\u0000"'),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\uffff"', '"' + "\u202e" * 9 + '"', '"../../etc/passwd"', '"%s%n{0}"'),
)
# More would be refused by its size alone, and takes gigabytes to make.
MOST_CHARS = 100_000_000
BROKEN = (b"", b"{", b"[", b'"', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"{}{}", b"nul", b'{"a":}', b"\x00" * 99)


def value(rng: Random, names: Sequence[str], depth: int = 4) -> str:
    """Any value; its objects have names of `names`, most of the time."""
    kind = rng.randrange(8) if depth else 0
    if kind < 4:
        return rng.choice(SCALARS)
    many = rng.randrange(5)
    if kind < 6:
        return "[{}]".format(",".join(value(rng, names, depth - 1) for _ in range(many)))
    return "{{{}}}".format(",".join(f"{name(rng, names)}:{value(rng, names, depth - 1)}" for _ in range(many)))


def name(rng: Random, names: Sequence[str]) -> str:
    """A name in quotes."""
    if one_in(rng, 9):
        return json.dumps(rng.choice(["", "\x00", "a" * 5000, "__proto__", "\ud800", "ｎａｍｅ", "$ref", "a.b[0]"]))
    return json.dumps(rng.choice(names))


def vast(rng: Random, names: Sequence[str]) -> str:
    """A value of many parts: deep, long, wide, or the same name again and again."""
    many = rng.choice([100, 2000, 20_000, 200_000])
    inner = rng.choice(["", "1", "null", '"a"', "{}", "[]"])
    match rng.randrange(8):
        case 0:
            return "[" * many + inner + "]" * many
        case 1:
            return '{"a":' * many + (inner or "1") + "}" * many
        case 2:
            return "[" * many
        case 3:
            return "[{}]".format(",".join([inner or "{}"] * many))
        case 4:
            return "{{{}}}".format(",".join(f'"{prefix}{at}":1' for prefix in ("aB", "x_") for at in range(many // 2)))
        case 5:
            member = f"{name(rng, names)}:{inner or 1}"
            return "{{{}}}".format(",".join([member] * min(many, MOST_CHARS // len(member))))
        case 6:
            return '"%s"' % (rng.choice(["a", "\\u0041", "é", "\\n", "😀"]) * many)
        case _:
            return "[{}]".format(",".join(["[{}]".format(",".join([inner or "1"] * 50))] * (many // 50)))


def hostile(rng: Random, names: Sequence[str]) -> str:
    """A value: mostly small ones, now and then a vast one."""
    return vast(rng, names) if one_in(rng, 6) else value(rng, names)


def damaged(rng: Random, body: bytes) -> bytes:
    """The bytes as they are, mostly; else cut, with some of them changed, or others altogether."""
    match rng.randrange(12):
        case 0:
            return body[: rng.randrange(len(body) + 1)]
        case 1:
            return rng.choice(BROKEN)
        case 2 if body:
            changed = bytearray(body)
            for _ in range(rng.randrange(1, 9)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            return bytes(changed)
        case _:
            return body
