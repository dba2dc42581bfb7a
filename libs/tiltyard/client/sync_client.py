"""The synchronous shell."""

import time
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

import httpx2

from tiltyard.client import http
from tiltyard.client.call import Answer, Call, error_of
from tiltyard.client.calls.artifacts import artifact_path
from tiltyard.client.methods import RegistryClient
from tiltyard.client.retry import retrying
from tiltyard.errors import TransportError

T = TypeVar("T")


class Client(RegistryClient):
    """The registry's API; one pool of connections, safe to share between threads.

    `url` falls back to `TILTYARD_REGISTRY_URL`, `MLFLOW_REGISTRY_URI` and `MLFLOW_TRACKING_URI`, the credentials
    to the variables of `tiltyard.client.address.Credentials`. No call is repeated later than `retry_s` seconds after
    its first try.

    Raises, from every call:
        TiltyardError: the server says no; the class says why.
        TransportError: no answer came within the time and the retries allowed.
    """

    def _open(self) -> None:
        self._http = httpx2.Client(**self._settings.options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """The result of one call."""
        arguments = self._settings.request(call)
        answer = self._repeated(lambda: http.answer_of(self._http.request(**arguments)), creates=call.creates)
        return call.result(answer)

    def upload(self, path: str, upload: http.Upload) -> None:
        """Stores a file at `path` of the artifact root, streamed; what is there is replaced."""

        def once() -> Answer:
            content, headers = http.chunks_of(upload), http.upload_headers(upload)
            return http.answer_of(self._http.put(artifact_path(path), content=content, headers=headers))

        answer = self._repeated(once, creates=False)
        if answer.status != 200:
            raise error_of(answer)

    def download(self, path: str) -> Iterator[bytes]:
        """The bytes of the file at `path` of the artifact root, in chunks.

        Raises:
            TransportError: also when the connection breaks in the middle.
        """
        opened: list[httpx2.Response] = []

        def once() -> Answer:
            request = self._http.build_request("GET", artifact_path(path))
            response = self._http.send(request, stream=True)
            if response.status_code == 200:
                opened.append(response)
                return Answer(200, {}, b"")
            response.read()
            response.close()
            return http.answer_of(response)

        answer = self._repeated(once, creates=False)
        if answer.status != 200:
            raise error_of(answer)
        response = opened.pop()
        try:
            yield from response.iter_bytes()
        except httpx2.TransportError as error:
            raise TransportError(f"The registry at {self.url} broke off a download.") from error
        finally:
            response.close()

    def _repeated(self, once: Callable[[], Answer], *, creates: bool) -> Answer:
        policy = retrying(creates=creates, total_s=self._retry_s)
        delay_s = next(policy)
        while True:
            time.sleep(delay_s)
            with http.faults() as outcome:
                outcome.append(once())
            try:
                delay_s = policy.send(outcome[0])
            except StopIteration as end:
                return http.answered(end.value, self.url)


def delete_runs(
    experiment_id: str, max_timestamp_millis: int, max_runs: int | None = None, *, registry_url: str | None = None
) -> int:
    """How many active runs of the experiment are deleted now: the oldest that started at or before the time.

    Args:
        max_timestamp_millis: milliseconds since the epoch.
        max_runs: at most so many; 10,000 when absent, and never more.

    Raises:
        ResourceDoesNotExist: there is no such experiment.
        InvalidParameterValue: the time or `max_runs` is out of range.
    """
    with Client(registry_url) as client:
        return client.delete_runs(experiment_id, max_timestamp_millis, max_runs)


def restore_runs(
    experiment_id: str, min_timestamp_millis: int, max_runs: int | None = None, *, registry_url: str | None = None
) -> int:
    """How many deleted runs of the experiment are active again: the last that were deleted at or after the time.

    Args:
        min_timestamp_millis: milliseconds since the epoch.
        max_runs: at most so many; 10,000 when absent, and never more.

    Raises:
        ResourceDoesNotExist: there is no such experiment.
        InvalidParameterValue: the experiment is deleted, or the time or `max_runs` is out of range.
    """
    with Client(registry_url) as client:
        return client.restore_runs(experiment_id, min_timestamp_millis, max_runs)
