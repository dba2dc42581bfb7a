"""Objects of a bucket: opened by URI, read, and their faults in our words."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tiltyard.errors import (
    InternalError,
    InvalidParameterValue,
    MissingPackage,
    ResourceConflict,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
)
from tiltyard.storage.artifact_store import CHUNK_BYTES, Entry
from tiltyard.uri import safe_relative_path

try:
    import obstore
    from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
    from obstore.store import MemoryStore, from_url
except ImportError as error:
    raise MissingPackage(
        "Object stores need the package 'obstore': install it with `pip install 'tiltyard[s3]'`."
    ) from error

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_RETRIES: "RetryConfig" = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=6),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}
# The total covers the whole body, whatever its size; a stalled peer is found by the read timeout.
_CLIENT: "ClientConfig" = {"timeout": "24h", "connect_timeout": "3s", "read_timeout": "20s"}

_memory: dict[str, MemoryStore] = {}
__all__ = ["ObjectSource", "entry_of", "obstore", "open_objects", "translated_errors"]

log = logging.getLogger(__name__)


def open_objects(uri: str) -> Any:
    """The object-store library's own handle for `uri`, whose path becomes the prefix of every key.

    Credentials, region and endpoint come from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`). An endpoint that is
    named with `http://` is asked without TLS, unless `AWS_ALLOW_HTTP=false` says otherwise.
    `memory://name` is one store per name for as long as the process lives.
    """
    if uri.startswith("memory:"):
        return _memory.setdefault(uri, MemoryStore())
    # Options given here hide those of the environment, so this one is read for the library.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = (endpoint or os.environ.get("AWS_ENDPOINT", "")).lower()
    said = os.environ.get("AWS_ALLOW_HTTP", "").lower()
    plain = said in ("1", "true") or (not said and endpoint.startswith("http://"))
    with translated_errors(""):
        return from_url(uri, client_options={**_CLIENT, "allow_http": plain}, retry_config=_RETRIES)


class ObjectSource:
    """The objects below one URI, read without an event loop."""

    def __init__(self, uri: str) -> None:
        self._store = open_objects(uri)

    def list_files(self) -> list[tuple[str, int | None]]:
        with translated_errors(""):
            return [(meta["path"], meta["size"]) for page in obstore.list(self._store) for meta in page]

    def read(self, path: str) -> Iterator[bytes]:
        with translated_errors(path):
            yield from obstore.get(self._store, safe_relative_path(path)).stream(min_chunk_size=CHUNK_BYTES)


def entry_of(meta: Any) -> Entry:
    modified_ms = int(meta["last_modified"].timestamp() * 1000)
    return Entry(meta["path"], meta["size"], etag=meta["e_tag"] or "", modified_ms=modified_ms)


@contextmanager
def translated_errors(path: str) -> Iterator[None]:
    """Turns the library's exceptions, whose texts hold endpoints and keys, into errors safe to show."""
    try:
        yield
    except FileNotFoundError:
        raise ResourceDoesNotExist(f"Artifact '{path}' does not exist.") from None
    except PreconditionError:
        raise ResourceConflict(f"Artifact '{path}' changed while it was being read.") from None
    except (PermissionDeniedError, UnauthenticatedError):
        log.exception("the object store refuses the credentials")
        raise InternalError("The artifact store refuses access.") from None
    except ValueError:
        raise InvalidParameterValue(f"Invalid path '{path[:80]}': the store cannot hold such a name.") from None
    except (BaseError, OSError) as error:
        if "NoSuchBucket" in str(error):
            log.warning("the object store has no such bucket")
            raise TemporarilyUnavailable("The artifact store's bucket does not exist.", retry_after_s=30.0) from None
        log.exception("the object store fails")
        raise TemporarilyUnavailable("The artifact store does not answer.", retry_after_s=5.0) from None
