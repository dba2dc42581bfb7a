"""From a reference to verified files, and to a loaded model."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import finalize

from tiltyard.cache.cached_model import CachedModel
from tiltyard.cache.model_cache import ModelCache
from tiltyard.client import Client
from tiltyard.errors import InvalidParameterValue, ModelIntegrityError, ResourceDoesNotExist
from tiltyard.models.reference import PROXIED, ModelReference, proxied_path, resolve
from tiltyard.storage import SCHEMES
from tiltyard.storage.sources import CallSource, DirectorySource, Source, object_source
from tiltyard.uri import DirectoryUri

if TYPE_CHECKING:
    from tiltyard.pyfunc import PyFunc

_log = logging.getLogger(__name__)


def fetch(
    model: ModelReference | str,
    *,
    registry_url: str | None = None,
    cache_dir: Path | str | None = None,
    accept_unverified: bool = False,
    cache_max_bytes: int | None = None,
) -> CachedModel:
    """A directory on this host that holds the model's files, every byte checked against its manifest.

    It is taken wherever a path is, and stays until it is released, which an end of all references does too.

    `model` is a reference, or a URI that is resolved as `resolve` does, with the registry at `registry_url`.
    Files are downloaded once per host into `cache_dir` (by default `TILTYARD_CACHE_DIR`, else
    `~/.cache/tiltyard`), which `cache_max_bytes` bounds. A local directory that the caller named is returned as it is.

    Raises:
        ModelIntegrityError: a file is not what was registered; or nobody vouches for the files and
            `accept_unverified` is false.
        ResourceDoesNotExist: the files are gone.
        TransportError: the registry gives no answer.
    """
    reference = resolve(model, registry_url=registry_url) if isinstance(model, str) else model
    if reference.named:
        path = DirectoryUri(reference.location).local_path
        if path is not None:
            return CachedModel(path)
    elif reference.manifest is None and not accept_unverified:
        raise ModelIntegrityError(
            f"Nobody vouches for the files of '{reference.uri}': it is not a registered version with a manifest. "
            "Register it, or load it with accept_unverified=True."
        )
    cache = ModelCache(cache_dir, cache_max_bytes)
    with _source(reference) as source:
        if reference.manifest is not None:
            return cache.fetch(reference.manifest, source)
        return cache.fetch_unknown(source)


def load_model(
    uri: str,
    *,
    registry_url: str | None = None,
    accept_unverified: bool = False,
    cache_dir: Path | str | None = None,
) -> "PyFunc":
    """The model that `uri` names, loaded; see `resolve` for its forms.

    A pickled model runs code when it is loaded. That happens only for a version of the configured registry whose
    digest was verified, for a directory that the caller names, or when he accepts unverified files.

    Raises:
        ModelIntegrityError: the files are not what was registered, or nobody vouches for them.
        MissingPackage: the model needs a package that is not installed.
    """
    from tiltyard import pyfunc

    reference = resolve(uri, registry_url=registry_url)
    files = fetch(reference, cache_dir=cache_dir, accept_unverified=accept_unverified)
    model = pyfunc.load(files)
    # It may read them as long as it lives.
    finalize(model, files.release)
    if model.caution is not None:
        _log.warning("%s: %s", reference.uri, model.caution)
    return model


@contextmanager
def _source(reference: ModelReference) -> Iterator[Source]:
    location = reference.location
    if location.startswith(PROXIED):
        with Client(reference.registry_url) as client:
            yield _behind_registry(client, proxied_path(location))
        return
    path = DirectoryUri(location).local_path
    if path is not None:
        yield DirectorySource(path)
        return
    scheme = urlsplit(location).scheme
    if scheme not in SCHEMES:
        raise InvalidParameterValue(f"Files at '{scheme}://' cannot be read.")
    yield object_source(location)


def _behind_registry(client: Client, root: str) -> Source:
    def list_files() -> list[tuple[str, int | None]]:
        found: list[tuple[str, int | None]] = []
        pending = [""]
        while pending:
            directory = pending.pop()
            for file in client.list_artifacts(f"{root}/{directory}".rstrip("/")):
                path = f"{directory}/{file.path}".lstrip("/")
                if file.is_dir:
                    pending.append(path)
                else:
                    found.append((path, file.file_size))
        if not found:
            raise ResourceDoesNotExist("The model has no files.")
        return found

    return CallSource(list_files, lambda path: client.download(f"{root}/{path}"))
