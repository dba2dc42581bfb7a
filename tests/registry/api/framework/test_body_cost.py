"""What a JSON body may cost the registry: values, names, memory; and that a large one is decoded in a thread."""

import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import AsyncTestClient

from tiltyard.errors import InvalidParameterValue, PayloadTooLarge, TemporarilyUnavailable
from tiltyard.server.body_memory import FREE_BYTES, BodyMemory, Held
from tiltyard.wire.mlflow.registered_models import CreateRegisteredModel
from tiltyard_registry.api.framework import binding
from tiltyard_registry.api.framework.binding import decode
from tiltyard_registry.api.framework.body_limits import AT_ONCE_BYTES, HELD, PIECE_BYTES, HeldBodies
from tiltyard_registry.app import create_app
from tiltyard_registry.settings import RegistrySettings

JSON = "application/json"
CREATE = "/api/2.0/mlflow/registered-models/create"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    """A registry on SQLite in this process."""
    settings = RegistrySettings(data_dir=tmp_path, max_values=2000, max_arriving_bytes=300_000, access_log=False)
    async with AsyncTestClient(create_app(settings), base_url="http://localhost.localhost") as client:
        yield client


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b",".join([b"{}"] * 300_000) + b"]}",
        b'{"a":' + b"[" * 300_000 + b"]" * 300_000 + b"}",
        b"{" + b",".join(b'"n%d":1' % number for number in range(300_000)) + b"}",
    ],
    ids=["objects", "depth", "names"],
)
def test_bodies_of_too_many_values_are_refused_before_they_are_built(body: bytes) -> None:
    """Objects, lists and names are counted in the text; the message names the limit and its value."""
    with pytest.raises(PayloadTooLarge, match=r"over the limit 'max_values' of 200000\."):
        decode(body, JSON, CreateRegisteredModel)


def test_a_name_of_megabytes_is_no_spelling_of_a_parameter() -> None:
    """A name that is longer than any parameter's is unknown, however it is written, and is not taken apart."""
    name = "aA" * 1_000_000
    body = json.dumps({name: 1, "name": "m", "registeredModel": {name: name}}).encode()
    assert decode(body, JSON, CreateRegisteredModel).name == "m"


def test_what_no_parameter_has_is_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values below unknown names are dropped as they are, while known ones are still understood in both spellings."""
    walked: list[str] = []
    real = binding._normalised

    def noted(value: Any, path: str, *rest: Any) -> Any:
        walked.append(path)
        return real(value, path, *rest)

    monkeypatch.setattr(binding, "_normalised", noted)
    body = {"unknownThing": {"a": [1, 2, {"b": 3}]}, "name": "m", "tags": [{"key": "k", "value": None}]}
    assert decode(json.dumps(body).encode(), JSON, CreateRegisteredModel).name == "m"
    assert not any(path.startswith("unknown") for path in walked)
    assert "tags[0]" in walked


@pytest.mark.parametrize("at", [0, PIECE_BYTES - 20, PIECE_BYTES - 1, PIECE_BYTES + 5])
def test_other_spellings_are_found_wherever_they_stand(at: int) -> None:
    """A camelCase name is understood across the ends of the pieces in which a large body is searched."""

    class Kind(msgspec.Struct):
        run_id: str = ""
        text: str = ""

    for extra in range(40):
        body = b'{"text":"%s","runId":"r"}' % (b"x" * max(0, at - 20 + extra))
        assert decode(body, JSON, Kind).run_id == "r"


async def test_large_bodies_are_decoded_beside_the_event_loop(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body over the bound is decoded in another thread, once; a small one at once. Both are answered the same."""
    threads: list[threading.Thread] = []
    real = binding.decode

    def noted(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return real(*arguments)

    monkeypatch.setattr(binding, "decode", noted)
    for name, size in (("small", 10), ("large", AT_ONCE_BYTES)):
        answer = await client.post(CREATE, json={"name": name, "filler": "d" * size})
        assert answer.json()["registered_model"]["name"] == name
    small, large = threads
    assert small is not large
    refused = await client.post(CREATE, json={"name": 5, "filler": "d" * AT_ONCE_BYTES})
    assert refused.status_code == 400
    assert "for parameter 'name' supplied" in refused.json()["message"]
    many = await client.post(CREATE, json={"name": "m", "x": [{}] * 30_000})
    assert (many.status_code, many.json()["message"].count("'max_values' of 2000")) == (413, 1)


async def test_parameters_in_the_body_of_a_get_are_no_more_than_a_query_has(client: Any) -> None:
    """A GET's body over 64 KiB is refused, and many names in one that has a query too cost no square of them."""
    many = {f"p{number}": number for number in range(5000)}
    search = "/api/2.0/mlflow/registered-models/search"
    answer = await client.request("GET", f"{search}?max_results=1", json=many)
    assert answer.status_code == 400, answer.text
    answer = await client.request("GET", search, json={"filter": "x" * 70_000})
    assert answer.status_code == 413, answer.text


async def test_bodies_under_way_are_bounded_together() -> None:
    """While one large body arrives another is told to come again; what a request took is given back at its end."""
    held: list[Held] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        held.append(scope["state"][HELD])
        held[-1].take(200_000)
        if scope["path"] == "/first":
            with pytest.raises(TemporarilyUnavailable, match="'max_arriving_bytes' of 300000"):
                await bodies({**scope, "path": "/second", "state": {}}, None, None)  # type: ignore[arg-type]

    bodies = HeldBodies(app, 300_000)
    for path in ("/first", "/third"):
        scope: Any = {"type": "http", "method": "POST", "path": path, "state": {}}
        await bodies(scope, None, None)  # type: ignore[arg-type]
    assert len(held) == 3
    assert [one.size_bytes for one in held] == [0, 0, 0]


async def test_a_body_that_no_memory_is_left_for_is_answered(client: Any) -> None:
    """It is 429 with Retry-After, naming the limit, and the next one that fits is answered."""
    refused = await client.post(CREATE, json={"name": "large", "filler": "d" * 310_000})
    assert (refused.status_code, refused.json()["error_code"]) == (429, "TEMPORARILY_UNAVAILABLE")
    assert "'max_arriving_bytes' of 300000" in refused.json()["message"]
    assert refused.headers["retry-after"] == "1"
    assert (await client.post(CREATE, json={"name": "fits", "filler": "d" * 250_000})).status_code == 200


def test_memory_that_is_held_is_counted() -> None:
    """Small bodies pass a full bound; what is given back can be taken again."""
    memory = BodyMemory(200_000)
    one, two = Held(memory), Held(memory)
    one.take(150_000)
    two.take(FREE_BYTES - 20_000)
    with pytest.raises(TemporarilyUnavailable):
        two.take(100_000)
    one.give_back()
    one.give_back()
    two.take(100_000)
    assert memory.used_bytes == FREE_BYTES + 80_000
    two.give_back()
    assert memory.used_bytes == 0


def test_nesting_is_refused_in_words() -> None:
    """What is nested deeper than the parser goes is the caller's fault."""
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        body = b'{"name":"m","tags":' + opening * 5000 + b"1" + closing * 5000 + b"}"
        with pytest.raises(InvalidParameterValue):
            decode(body, JSON, CreateRegisteredModel)
