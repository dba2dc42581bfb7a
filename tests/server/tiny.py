"""A small ASGI application, to test processes without either service."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from tiltyard.errors import InvalidParameterValue
from tiltyard.server import arrivals


class Settings(msgspec.Struct, frozen=True):
    """What the application is told."""

    folder: Path
    fail_after: int = 0
    drain_delay_s: float = 0.0
    last_request_s: float = arrivals.LAST_REQUEST_S
    last_head_s: float = arrivals.LAST_HEAD_S


class App:
    """Answers who it is, waits, dies on request, and knows when it drains."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(draining=asyncio.Event())

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            return await send({"type": "lifespan.shutdown.complete"})
        status, body = await self.answer(scope["path"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        return await send({"type": "http.response.body", "body": body.encode()})

    async def answer(self, path: str) -> tuple[int, str]:
        draining = self.state.draining
        match path.strip("/").split("/"):
            case ["health"]:
                return (503 if draining.is_set() else 200), ""
            case ["slow", seconds]:
                print("taking its time", flush=True)
                await asyncio.sleep(float(seconds))
            case ["until-drain"]:
                print("taking its time", flush=True)
                await draining.wait()
            case ["die"]:
                os._exit(9)
        return 200, str(os.getpid())


def create_app(settings: Settings) -> App:
    """The application; from the `fail_after`-th process on, a refusal."""
    arrivals.LAST_REQUEST_S = settings.last_request_s
    arrivals.LAST_HEAD_S = settings.last_head_s
    seen = settings.folder / "started"
    with seen.open("ab") as file:
        file.write(b".")
    if settings.fail_after and seen.stat().st_size > settings.fail_after:
        raise InvalidParameterValue("Parameter 'fail_after' says no.")
    return App()
