"""Scoring requests to an application in this process: no socket, everything else as it is."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar

from tests.fixtures.waiting import until
from tests.serving.http_calls import Answer
from tiltyard_serving.app import create_app
from tiltyard_serving.auth.callers import Callers
from tiltyard_serving.settings import ServingSettings

Headers = Sequence[tuple[str, str]]


class App:
    """A running application."""

    def __init__(self, app: Litestar) -> None:
        self.app = app

    async def request(
        self, method: str, path: str, body: Any = b"", headers: Headers = (), pieces: AsyncIterator[bytes] | None = None
    ) -> Answer:
        """The answer to one request; a body that is no bytes is sent as JSON, one of pieces as they come."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = [(name.lower().encode(), value.encode()) for name, value in headers]
        if not any(name == b"content-type" for name, _ in sent):
            sent.append((b"content-type", b"application/json"))
        if not any(name == b"host" for name, _ in sent):
            sent.append((b"host", b"127.0.0.1"))
        raw_path, _, query = path.partition("?")
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": sent,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        incoming: list[Any] = [{"type": "http.request", "body": data, "more_body": False}]
        status, answered, parts = 0, {}, []

        async def receive() -> Any:
            if pieces is not None and incoming:
                piece = await anext(pieces, None)
                if piece is not None:
                    return {"type": "http.request", "body": piece, "more_body": True}
            if incoming:
                return incoming.pop()
            await asyncio.Event().wait()
            return None

        async def send(message: Any) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            else:
                parts.append(message.get("body", b""))

        await self.app(scope, receive, send)
        return Answer(status, answered, b"".join(parts))

    async def until_ready(self) -> None:
        """Returns once every configured model is loaded."""

        async def healthy() -> bool:
            return (await self.request("GET", "/health")).status == 200

        await until(healthy)


@asynccontextmanager
async def running(callers: Callers | None = None, **settings: Any) -> AsyncIterator[App]:
    """The application with these settings, with all its models loaded."""
    app = App(create_app(ServingSettings(**settings), callers))
    async with app.app.lifespan():
        await app.until_ready()
        yield app
