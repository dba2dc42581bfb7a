"""The registry's calls as methods: one table for both clients."""

import functools
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from tiltyard.client import http
from tiltyard.client.address import Credentials
from tiltyard.client.call import Call, signature_of_method
from tiltyard.client.calls import access, artifacts, logged_models, model_versions, registered_models, registry, runs
from tiltyard.client.retry import TOTAL_S

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class _Method(Protocol[P, T_co]):
    """A method as type checkers see it: of the client for `with` it gives the result, of that for `async with` what is
    awaited for it.
    """

    @overload
    def __get__(self, client: AbstractContextManager[Any, Any], kind: type) -> Callable[P, T_co]: ...
    @overload
    def __get__(
        self, client: AbstractAsyncContextManager[Any, Any], kind: type
    ) -> Callable[P, Coroutine[Any, Any, T_co]]: ...


def _sent(build: Callable[P, Call[T_co]]) -> _Method[P, T_co]:
    """The method that sends what `build` builds."""

    @functools.wraps(build)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.send(build(*args, **kwargs))

    vars(method)["__signature__"] = signature_of_method(build)
    return cast("_Method[P, T_co]", method)


class RegistryClient:
    """What both clients are: the settings of a connection, and a method for each call."""

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
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The registry's address."""
        return self._settings.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    create_registered_model = _sent(registered_models.create_registered_model)
    get_registered_model = _sent(registered_models.get_registered_model)
    search_registered_models = _sent(registered_models.search_registered_models)
    update_registered_model = _sent(registered_models.update_registered_model)
    rename_registered_model = _sent(registered_models.rename_registered_model)
    delete_registered_model = _sent(registered_models.delete_registered_model)
    set_registered_model_tag = _sent(registered_models.set_registered_model_tag)
    delete_registered_model_tag = _sent(registered_models.delete_registered_model_tag)
    get_latest_versions = _sent(registered_models.get_latest_versions)
    get_model_version_by_alias = _sent(registered_models.get_model_version_by_alias)
    create_model_version = _sent(model_versions.create_model_version)
    get_model_version = _sent(model_versions.get_model_version)
    get_model_version_download_uri = _sent(model_versions.get_model_version_download_uri)
    search_model_versions = _sent(model_versions.search_model_versions)
    update_model_version = _sent(model_versions.update_model_version)
    transition_model_version_stage = _sent(model_versions.transition_model_version_stage)
    delete_model_version = _sent(model_versions.delete_model_version)
    set_model_version_tag = _sent(model_versions.set_model_version_tag)
    delete_model_version_tag = _sent(model_versions.delete_model_version_tag)
    set_alias = _sent(registry.set_alias)
    get_alias = _sent(registry.get_alias)
    delete_alias = _sent(registry.delete_alias)
    get_aliases = _sent(registry.get_aliases)
    rollback_alias = _sent(registry.rollback_alias)
    alias_history = _sent(registry.alias_history)
    apply_changes = _sent(registry.apply_changes)
    manifest = _sent(registry.manifest)
    events = _sent(registry.events)
    resolve = _sent(registry.resolve)
    record_batch_job = _sent(registry.record_batch_job)
    list_batch_jobs = _sent(registry.list_batch_jobs)
    create_experiment = _sent(runs.create_experiment)
    get_experiment = _sent(runs.get_experiment)
    get_experiment_by_name = _sent(runs.get_experiment_by_name)
    search_experiments = _sent(runs.search_experiments)
    rename_experiment = _sent(runs.rename_experiment)
    delete_experiment = _sent(runs.delete_experiment)
    restore_experiment = _sent(runs.restore_experiment)
    create_run = _sent(runs.create_run)
    get_run = _sent(runs.get_run)
    search_runs = _sent(runs.search_runs)
    update_run = _sent(runs.update_run)
    delete_run = _sent(runs.delete_run)
    delete_runs = _sent(runs.delete_runs)
    restore_runs = _sent(runs.restore_runs)
    restore_run = _sent(runs.restore_run)
    log_batch = _sent(runs.log_batch)
    log_outputs = _sent(runs.log_outputs)
    create_logged_model = _sent(logged_models.create_logged_model)
    get_logged_model = _sent(logged_models.get_logged_model)
    finalize_logged_model = _sent(logged_models.finalize_logged_model)
    delete_logged_model = _sent(logged_models.delete_logged_model)
    set_logged_model_tags = _sent(logged_models.set_logged_model_tags)
    search_logged_models = _sent(logged_models.search_logged_models)
    list_artifacts = _sent(artifacts.list_artifacts)
    delete_artifacts = _sent(artifacts.delete_artifacts)
    server_info = _sent(artifacts.server_info)
    me = _sent(access.me)
    create_principal = _sent(access.create_principal)
    list_principals = _sent(access.list_principals)
    get_principal = _sent(access.get_principal)
    update_principal = _sent(access.update_principal)
    delete_principal = _sent(access.delete_principal)
    set_password = _sent(access.set_password)
    list_members = _sent(access.list_members)
    add_member = _sent(access.add_member)
    remove_member = _sent(access.remove_member)
    create_token = _sent(access.create_token)
    list_tokens = _sent(access.list_tokens)
    revoke_token = _sent(access.revoke_token)
    rotate_token = _sent(access.rotate_token)
    get_grants = _sent(access.get_grants)
    change_grants = _sent(access.change_grants)
    effective_permissions = _sent(access.effective_permissions)
