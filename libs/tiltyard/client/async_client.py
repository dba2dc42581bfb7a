"""The asynchronous shell."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self, TypeVar

import httpx2

from tiltyard.client import http
from tiltyard.client.call import Answer, Call, error_of
from tiltyard.client.calls.artifacts import artifact_path
from tiltyard.client.methods import RegistryClient
from tiltyard.client.retry import retrying
from tiltyard.errors import TransportError

T = TypeVar("T")


class AsyncClient(RegistryClient):
    """The registry's API for an event loop: the methods of `Client`, awaited, with the same errors."""

    def _open(self) -> None:
        self._http = httpx2.AsyncClient(**self._settings.options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Gives the connections back."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """The result of one call."""
        arguments = self._settings.request(call)

        async def once() -> Answer:
            return http.answer_of(await self._http.request(**arguments))

        return call.result(await self._repeated(once, creates=call.creates))

    async def upload(self, path: str, upload: http.Upload) -> None:
        """Stores a file at `path` of the artifact root, streamed; what is there is replaced."""

        async def chunks() -> AsyncIterator[bytes]:
            source = http.chunks_of(upload)
            while chunk := await asyncio.to_thread(next, source, b""):
                yield chunk

        async def once() -> Answer:
            content, headers = chunks(), http.upload_headers(upload)
            return http.answer_of(await self._http.put(artifact_path(path), content=content, headers=headers))

        answer = await self._repeated(once, creates=False)
        if answer.status != 200:
            raise error_of(answer)

    async def download(self, path: str) -> AsyncIterator[bytes]:
        """The bytes of the file at `path` of the artifact root, in chunks.

        Raises:
            TransportError: also when the connection breaks in the middle.
        """
        opened: list[httpx2.Response] = []

        async def once() -> Answer:
            request = self._http.build_request("GET", artifact_path(path))
            response = await self._http.send(request, stream=True)
            if response.status_code == 200:
                opened.append(response)
                return Answer(200, {}, b"")
            await response.aread()
            await response.aclose()
            return http.answer_of(response)

        answer = await self._repeated(once, creates=False)
        if answer.status != 200:
            raise error_of(answer)
        response = opened.pop()
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx2.TransportError as error:
            raise TransportError(f"The registry at {self.url} broke off a download.") from error
        finally:
            await response.aclose()

    async def _repeated(self, once: Callable[[], Awaitable[Answer]], *, creates: bool) -> Answer:
        policy = retrying(creates=creates, total_s=self._retry_s)
        delay_s = next(policy)
        while True:
            await asyncio.sleep(delay_s)
            with http.faults() as outcome:
                outcome.append(await once())
            try:
                delay_s = policy.send(outcome[0])
            except StopIteration as end:
                return http.answered(end.value, self.url)
