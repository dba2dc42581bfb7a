"""What both shells share of HTTP: connection settings, headers, and the meaning of a transport's faults."""

import os
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tiltyard.client.address import Credentials, registry_url, without_credentials
from tiltyard.client.call import Answer, Call
from tiltyard.client.retry import Outcome, Unanswered, Unsent
from tiltyard.errors import TransportError

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
UPLOAD_CHUNK_BYTES = 256 * 1024

Upload = bytes | Path | Callable[[], Iterable[bytes]]
"""What can be uploaded, and from its start again: bytes, a file, or a function that gives the chunks."""

_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class ConnectionOptions:
    """How one client reaches one registry."""

    def __init__(
        self,
        url: str | None,
        credentials: Credentials | None,
        timeout_s: float,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self.url, in_url = without_credentials(registry_url(url))
        self.timeout_s = timeout_s
        self.connect_timeout_s = min(connect_timeout_s, timeout_s)
        known = credentials or in_url or Credentials.known_for(self.url)
        headers = {"User-Agent": "tiltyard", "Accept": "application/json"}
        auth = None
        if known.token:
            headers["Authorization"] = f"Bearer {known.token}"
        elif known.username:
            auth = httpx2.BasicAuth(known.username, known.password or "")
        self.options: dict[str, Any] = {
            "base_url": self.url,
            "headers": headers,
            "auth": auth,
            "timeout": self.timeout(0.0),
            "follow_redirects": True,
            "verify": _trust(self.url),
        }

    def timeout(self, wait_s: float) -> httpx2.Timeout:
        """Time limits of a request whose answer the server may hold back for `wait_s`."""
        return httpx2.Timeout(self.timeout_s + wait_s, connect=self.connect_timeout_s)

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """The arguments of one request. The shared client itself is never changed for it."""
        body = call.body()
        headers = dict(call.headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        return {
            "method": call.method,
            "url": call.path,
            "params": dict(call.query) or None,
            "headers": headers,
            "content": body,
            "timeout": self.timeout(call.wait_s),
        }


def _trust(url: str) -> ssl.SSLContext | bool:
    """The certificates to trust. Source: MLflow's `MLFLOW_TRACKING_SERVER_CERT_PATH` and `_INSECURE_TLS`."""
    if url.startswith("http://"):
        # Building a context takes longer than a call, and nothing would use it.
        return False
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        return False
    bundle = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    return ssl.create_default_context(cafile=bundle) if bundle else True


@contextmanager
def faults() -> Iterator[list[Outcome]]:
    """A list for the one outcome of a request; a fault of the transport becomes the outcome as well."""
    outcome: list[Outcome] = []
    try:
        yield outcome
    except (httpx2.RequestError, httpx2.StreamError) as error:
        # The library's text names the address at most, never a header.
        kind = Unsent if isinstance(error, _UNSENT) else Unanswered
        outcome.append(kind(f"{type(error).__name__}: {error}"))


def answered(outcome: Outcome, url: str) -> Answer:
    """The answer.

    Raises:
        TransportError: there is none.
    """
    if isinstance(outcome, Answer):
        return outcome
    raise TransportError(f"No answer from the registry at {url} ({outcome}).")


def answer_of(response: httpx2.Response) -> Answer:
    """A response that was read, as plain data."""
    headers = {key.lower(): value for key, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)


def chunks_of(upload: Upload) -> Iterator[bytes]:
    """The bytes of an upload from their start, in chunks."""
    if isinstance(upload, bytes):
        for offset in range(0, len(upload), UPLOAD_CHUNK_BYTES):
            yield upload[offset : offset + UPLOAD_CHUNK_BYTES]
    elif isinstance(upload, Path):
        with upload.open("rb") as file:
            while chunk := file.read(UPLOAD_CHUNK_BYTES):
                yield chunk
    else:
        yield from upload()


def upload_headers(upload: Upload) -> dict[str, str]:
    """The headers of an upload: its length where that is known beforehand."""
    headers = {"Content-Type": "application/octet-stream"}
    if isinstance(upload, bytes):
        headers["Content-Length"] = str(len(upload))
    elif isinstance(upload, Path):
        headers["Content-Length"] = str(upload.stat().st_size)
    return headers
