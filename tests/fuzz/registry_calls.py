"""Calls of the registry's own API, made from its OpenAPI document: right names, and anything as their values."""

import json
from random import Random
from typing import Any
from urllib.parse import quote

from tests.fuzz.bodies.json_text import MOST_CHARS, SCALARS, damaged, hostile, name, value
from tests.fuzz.case import Case, one_in

_KNOWN = ["main.fuzz.a", "0", "m-1", "champion", "1", "run", "a" * 3000, "..", "%00", "a/b", "ａ", ""]
_VERBS = ("get", "post", "put", "patch", "delete")


class Operations:
    """What the registry can be asked, of its document."""

    def __init__(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        self._fields = {name: sorted(schema.get("properties", {})) for name, schema in schemas.items()}
        self._schemas = schemas
        self._all = [
            (verb.upper(), path, operation)
            for path, operations in sorted(document["paths"].items())
            for verb, operation in operations.items()
            # Held back on purpose for as long as they say.
            if verb in _VERBS and not path.endswith(("/resolve", "/events"))
        ]

    def call(self, rng: Random) -> Case:
        """A call of any of them."""
        verb, path, operation = rng.choice(self._all)
        while "{" in path:
            head, _, rest = path.partition("{")
            path = head + quote(rng.choice(_KNOWN), safe="") + rest.partition("}")[2]
        asked = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
        if verb == "GET" and asked and not one_in(rng, 3):
            pairs = (f"{quote(rng.choice(asked))}={quote(_argument(rng))}" for _ in range(rng.choice([1, 3, 200])))
            return Case("registry query", "registry", verb, f"{path}?{'&'.join(pairs)}"[:60_000])
        schema = _schema(operation)
        fields = self._fields.get(schema, []) or asked or ["name"]
        body = self._object(rng, schema) if schema and not one_in(rng, 4) else hostile(rng, fields)
        headers = {"content-type": rng.choice(["application/json"] * 8 + ["", "text/plain", "application/json; a=b"])}
        if one_in(rng, 20):
            headers, sent = _multipart(rng, body)
        else:
            sent = body.encode("utf-8", "surrogatepass")
        kind = "registry get with body" if verb == "GET" else "registry json"
        return Case(kind, "registry", verb, path, damaged(rng, sent), headers)

    def _object(self, rng: Random, schema: str, depth: int = 3) -> str:
        """An object of that schema, each of whose values may be of another type."""
        properties = self._schemas[schema].get("properties", {})
        told = [
            f"{json.dumps(_spelled(rng, field))}:{self._value(rng, about, depth)}"
            for field, about in sorted(properties.items())
            if not one_in(rng, 5)
        ]
        if one_in(rng, 8):
            told.append(f"{name(rng, ['x'])}:{hostile(rng, ['x'])}")
        return "{{{}}}".format(",".join(told))

    def _value(self, rng: Random, about: dict[str, Any], depth: int) -> str:
        if one_in(rng, 6) or not depth:
            return hostile(rng, ["key", "value"])
        if choices := about.get("oneOf") or about.get("anyOf"):
            about = rng.choice(choices)
        if "$ref" in about:
            return self._object(rng, about["$ref"].rsplit("/", 1)[1], depth - 1)
        match about.get("type"):
            case "array":
                items = ",".join(self._value(rng, about.get("items", {}), depth - 1) for _ in range(rng.randrange(4)))
                many = min(rng.choice([1, 1, 1, 1, 2000]), 1 + MOST_CHARS // (1 + len(items)))
                return "[{}]".format(",".join([items] * many)) if items else "[]"
            case "object":
                return value(rng, ["a", "b"], 2)
            case "integer" | "number":
                return rng.choice(["0", "1", "-1", "1000", "1e3", "9223372036854775807", "9223372036854775808", '"1"'])
            case "boolean":
                return rng.choice(["true", "false", '"true"', "0"])
            case _:
                return rng.choice([*SCALARS, *(json.dumps(known) for known in _KNOWN)])


def _spelled(rng: Random, field: str) -> str:
    if not one_in(rng, 4):
        return field
    first, *others = field.split("_")
    return first + "".join(part.title() for part in others)


def _schema(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    named: str = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    return named.rsplit("/", 1)[-1]


def _argument(rng: Random) -> str:
    deep = rng.choice([3, 500, 8000])
    return rng.choice(
        [
            *("", "1", "-1", "1e9", "99999999999999999999", "name LIKE '%'", "attributes.x = '", "a" * 20_000),
            "(" * deep + "name = 'a'" + ")" * deep,
            " AND ".join(["name = 'a'"] * deep),
            "metrics.`%s` > 1" % ("a" * deep),
            "name IN ({})".format(",".join(["'a'"] * deep)),
            '{"a":' * deep,
            "\x00",
            "\ud7ff",
        ]
    )


def _multipart(rng: Random, body: str) -> tuple[dict[str, str], bytes]:
    part = b'--b\r\ncontent-disposition: form-data; name="name"; filename="../a"\r\n\r\n'
    parts = part + body.encode("utf-8", "surrogatepass") + b"\r\n"
    sent = parts * rng.choice([1, 3]) + part * rng.choice([0, 2000]) + rng.choice([b"--b--\r\n", b""])
    return {"content-type": "multipart/form-data; boundary=b"}, sent
