"""The registry's application in the test's own process, asked over ASGI: every layer but the socket."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from litestar import Litestar

from tiltyard_registry.app import create_app
from tiltyard_registry.settings import RegistrySettings

MLFLOW = "/api/2.0/mlflow"
MODELS = f"{MLFLOW}/registered-models"
VERSIONS = f"{MLFLOW}/model-versions"
OWN = "/api/tiltyard/v1"
UNITY = "/api/2.1/unity-catalog"
# The client's own log is none of the server's.
logging.getLogger("httpx2").setLevel(logging.WARNING)

JSON = {"content-type": "application/json"}


class Api:
    """One application and a client of it."""

    def __init__(self, app: Litestar, http: httpx2.AsyncClient) -> None:
        self.app = app
        self.http = http

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        """The answer to one request; `body` is sent as JSON, bytes as they are."""
        if isinstance(body, bytes):
            options["content"] = body
        elif body is not None:
            options["content"] = json.dumps(body).encode()
            options["headers"] = {**JSON, **options.get("headers", {})}
        return await self.http.request(method, path, **options)

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of an answer that must be 200."""
        answer = await self.ask(method, path, body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str, str]:
        """Status, code and message of an answer that must be a refusal in the protocol's shape."""
        answer = await self.ask(method, path, body, **options)
        said = answer.json()
        assert answer.status_code >= 400 and answer.headers["content-type"] == "application/json", answer.text
        return answer.status_code, said["error_code"], said["message"]

    async def model(self, name: str, versions: int = 0) -> None:
        """A new registered model with so many external versions, the cheapest kind."""
        await self.ok("POST", f"{MODELS}/create", {"name": name})
        for number in range(versions):
            await self.ok("POST", f"{VERSIONS}/create", {"name": name, "source": f"s3://elsewhere/{number}"})

    async def alias(self, name: str, alias: str, version: int, **options: Any) -> httpx2.Response:
        """Has an alias name a version, as the stock client does."""
        body = {"name": name, "alias": alias, "version": str(version)}
        return await self.ask("POST", f"{MODELS}/alias", body, **options)


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    """A running application with its data under `folder`."""
    app = create_app(RegistrySettings(**{"data_dir": folder, "access_log": False, **settings}))
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await stop.wait()

    # In a task of its own: a fixture is left in another task than it is entered in.
    life = asyncio.create_task(live())
    await asyncio.wait({life, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:5000") as http:
            yield Api(app, http)
    finally:
        stop.set()
        await life
