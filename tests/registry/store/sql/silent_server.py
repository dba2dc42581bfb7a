"""A network between a registry and its PostgreSQL that can swallow everything without a word."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.engine import make_url


class Wire:
    """A relay on a port of its own; while `cut` is set nothing comes through, and nobody is told."""

    def __init__(self, url: str) -> None:
        self._there = make_url(url)
        self.cut = asyncio.Event()
        self.url = url

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, near = await asyncio.open_connection(self._there.host, self._there.port)

        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    if self.cut.is_set():
                        continue
                    target.write(data)
                    await target.drain()
            target.close()

        await asyncio.gather(pass_on(reader, near), pass_on(far, writer))


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """A relay to the PostgreSQL of `url`; its own `url` leads through it."""
    opened = Wire(url)
    server = await asyncio.start_server(opened.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened.url = make_url(url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    try:
        yield opened
    finally:
        server.close()
