"""How a command asks the scoring service."""

import functools
from collections.abc import Callable
from typing import Any, Self

import click
import httpx2
import msgspec

from tiltyard.cli.options import option
from tiltyard.cli.printing import CONNECT_S
from tiltyard.client.call import Answer, error_of
from tiltyard.client.http import answer_of

LOCAL_SERVING_URL = "http://127.0.0.1:5001"

_serving_url = option(
    "--serving-url", default=LOCAL_SERVING_URL, show_default=True, help="Address of the scoring service."
)


class ScoringService:
    """A connection to one scoring service."""

    def __init__(self, url: str, *, timeout_s: float = 120.0) -> None:
        self.url = url.rstrip("/")
        timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S)
        try:
            self._http = httpx2.Client(base_url=self.url, timeout=timeout)
        except (httpx2.InvalidURL, ValueError):
            raise click.BadParameter("expected http://HOST:PORT.", param_hint="--serving-url") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Answer:
        """The answer, whatever its status.

        Raises:
            click.ClickException: there is none.
        """
        sent = {} if content_type is None else {"Content-Type": content_type}
        try:
            response = self._http.request(method, path, content=body, headers=sent)
        except (httpx2.RequestError, httpx2.UnsupportedProtocol):
            raise click.ClickException(
                f"No scoring service answers at {self.url}. Start one with 'tiltyard up' or 'tiltyard serving', or "
                "name another with --serving-url."
            ) from None
        return answer_of(response)

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """The JSON of a good answer.

        Raises:
            TiltyardError: the answer says no.
            click.ClickException: there is no answer, or it is not one of a scoring service.
        """
        body = None if content is None else msgspec.json.encode(content)
        answer = self.request(method, path, body, None if body is None else "application/json")
        if not 200 <= answer.status < 300:
            raise error_of(answer)
        try:
            return msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            raise click.ClickException(f"The server at {self.url} is not a Tiltyard scoring service.") from None


def asking_serving(command: Callable[..., Any]) -> Any:
    """Gives the command the connected `service`."""

    @functools.wraps(command)
    def asked(*, serving_url: str, **rest: Any) -> None:
        with ScoringService(serving_url) as service:
            command(service=service, **rest)

    return _serving_url(asked)
