"""The synchronous shell."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx2

from tiltyard.client import calls, http
from tiltyard.client.address import Credentials
from tiltyard.client.call import Answer, Call, error_of, signature_of_method
from tiltyard.client.retry import TOTAL_S, Outcome, retrying
from tiltyard.errors import TransportError

P = ParamSpec("P")
T = TypeVar("T")


def _sent(build: Callable[P, Call[T]]) -> Callable[Concatenate["Client", P], T]:
    """The method that sends what `build` builds."""

    @functools.wraps(build)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(build(*args, **kwargs))

    vars(method)["__signature__"] = signature_of_method(build)
    return method


class Client:
    """The registry's API; one pool of connections, safe to share between threads.

    `url` falls back to `TILTYARD_REGISTRY_URL`, `MLFLOW_REGISTRY_URI` and `MLFLOW_TRACKING_URI`, the credentials
    to the variables of `tiltyard.client.address.Credentials`. No call is repeated later than `retry_s` seconds after
    its first try.

    Raises, from every call:
        TiltyardError: the server says no; the class says why.
        TransportError: no answer came within the time and the retries allowed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        credentials: Credentials | None = None,
        timeout_s: float = http.TIMEOUT_S,
        retry_s: float = TOTAL_S,
        connect_timeout_s: float = http.CONNECT_TIMEOUT_S,
    ) -> None:
        self._settings = http.ConnectionOptions(url, credentials, timeout_s, connect_timeout_s)
        self._retry_s = retry_s
        self._http = httpx2.Client(**self._settings.options)

    @property
    def url(self) -> str:
        """The registry's address."""
        return self._settings.url

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

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

        def once() -> Outcome:
            with http.faults() as outcome:
                outcome.append(http.answer_of(self._http.request(**arguments)))
            return outcome[0]

        return call.result(http.answered(self._repeated(once, creates=call.creates), self.url))

    def upload(self, path: str, upload: http.Upload) -> None:
        """Stores a file at `path` of the artifact root, streamed; what is there is replaced."""

        def once() -> Outcome:
            with http.faults() as outcome:
                response = self._http.put(
                    calls.artifact_path(path),
                    content=http.chunks_of(upload),
                    headers=http.upload_headers(upload),
                )
                outcome.append(http.answer_of(response))
            return outcome[0]

        answer = http.answered(self._repeated(once, creates=False), self.url)
        if answer.status != 200:
            raise error_of(answer)

    def download(self, path: str) -> Iterator[bytes]:
        """The bytes of the file at `path` of the artifact root, in chunks.

        Raises:
            TransportError: also when the connection breaks in the middle.
        """
        opened: list[httpx2.Response] = []

        def once() -> Outcome:
            with http.faults() as outcome:
                request = self._http.build_request("GET", calls.artifact_path(path))
                response = self._http.send(request, stream=True)
                if response.status_code == 200:
                    opened.append(response)
                    outcome.append(Answer(200, {}, b""))
                else:
                    response.read()
                    outcome.append(http.answer_of(response))
                    response.close()
            return outcome[0]

        answer = http.answered(self._repeated(once, creates=False), self.url)
        if answer.status != 200:
            raise error_of(answer)
        response = opened.pop()
        try:
            yield from response.iter_bytes()
        except httpx2.TransportError as error:
            raise TransportError(f"The registry at {self.url} broke off a download.") from error
        finally:
            response.close()

    def _repeated(self, once: Callable[[], Outcome], *, creates: bool) -> Outcome:
        policy = retrying(creates=creates, total_s=self._retry_s)
        delay_s = next(policy)
        while True:
            time.sleep(delay_s)
            try:
                delay_s = policy.send(once())
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    create_registered_model = _sent(calls.create_registered_model)
    get_registered_model = _sent(calls.get_registered_model)
    search_registered_models = _sent(calls.search_registered_models)
    update_registered_model = _sent(calls.update_registered_model)
    rename_registered_model = _sent(calls.rename_registered_model)
    delete_registered_model = _sent(calls.delete_registered_model)
    set_registered_model_tag = _sent(calls.set_registered_model_tag)
    delete_registered_model_tag = _sent(calls.delete_registered_model_tag)
    get_latest_versions = _sent(calls.get_latest_versions)
    get_model_version_by_alias = _sent(calls.get_model_version_by_alias)
    create_model_version = _sent(calls.create_model_version)
    get_model_version = _sent(calls.get_model_version)
    get_model_version_download_uri = _sent(calls.get_model_version_download_uri)
    search_model_versions = _sent(calls.search_model_versions)
    update_model_version = _sent(calls.update_model_version)
    transition_model_version_stage = _sent(calls.transition_model_version_stage)
    delete_model_version = _sent(calls.delete_model_version)
    set_model_version_tag = _sent(calls.set_model_version_tag)
    delete_model_version_tag = _sent(calls.delete_model_version_tag)
    set_alias = _sent(calls.set_alias)
    get_alias = _sent(calls.get_alias)
    delete_alias = _sent(calls.delete_alias)
    get_aliases = _sent(calls.get_aliases)
    rollback_alias = _sent(calls.rollback_alias)
    alias_history = _sent(calls.alias_history)
    apply_changes = _sent(calls.apply_changes)
    manifest = _sent(calls.manifest)
    events = _sent(calls.events)
    resolve = _sent(calls.resolve)
    record_batch_job = _sent(calls.record_batch_job)
    list_batch_jobs = _sent(calls.list_batch_jobs)
    create_experiment = _sent(calls.create_experiment)
    get_experiment = _sent(calls.get_experiment)
    get_experiment_by_name = _sent(calls.get_experiment_by_name)
    search_experiments = _sent(calls.search_experiments)
    rename_experiment = _sent(calls.rename_experiment)
    delete_experiment = _sent(calls.delete_experiment)
    restore_experiment = _sent(calls.restore_experiment)
    create_run = _sent(calls.create_run)
    get_run = _sent(calls.get_run)
    search_runs = _sent(calls.search_runs)
    update_run = _sent(calls.update_run)
    delete_run = _sent(calls.delete_run)
    delete_runs = _sent(calls.delete_runs)
    restore_runs = _sent(calls.restore_runs)
    restore_run = _sent(calls.restore_run)
    log_batch = _sent(calls.log_batch)
    log_outputs = _sent(calls.log_outputs)
    create_logged_model = _sent(calls.create_logged_model)
    get_logged_model = _sent(calls.get_logged_model)
    finalize_logged_model = _sent(calls.finalize_logged_model)
    delete_logged_model = _sent(calls.delete_logged_model)
    set_logged_model_tags = _sent(calls.set_logged_model_tags)
    search_logged_models = _sent(calls.search_logged_models)
    list_artifacts = _sent(calls.list_artifacts)
    delete_artifacts = _sent(calls.delete_artifacts)
    server_info = _sent(calls.server_info)
