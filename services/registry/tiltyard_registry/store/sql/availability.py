"""What a fault of the database means for who asked: away for now, or its disk is full. The cause goes to the log."""

import errno
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tiltyard.errors import NothingDone, ResourceAlreadyExists, TemporarilyUnavailable

_RETRY_AFTER_S = 1.0
_FULL_RETRY_AFTER_S = 30.0
_LOG_EVERY_S = 5.0
# Of PostgreSQL: lost connection, deadlock or failed serialization, out of resources, shut down or starting.
_PASSING_STATES = ("08", "40", "53", "57")
_DISK_FULL_STATE = "53100"
_SQLITE_FULL = "SQLITE_FULL"

_OUTAGES = (
    PoolTimeoutError,
    DisconnectionError,
    InterfaceError,
    OperationalError,
    sqlite3.OperationalError,
    OSError,
)

DISK_FULL = "The disk of the registry's database is full, so nothing can be written. Free some space on it."

log = logging.getLogger(__name__)
_told: dict[str, float] = {}


class DiskFull(TemporarilyUnavailable):
    """The database cannot write: its disk is full."""


@contextmanager
def already_exists(message: str) -> Iterator[None]:
    """Turns a name that somebody has, or takes at this moment, into `ResourceAlreadyExists`.

    The transaction cannot go on after it.
    """
    try:
        yield
    except IntegrityError:
        raise ResourceAlreadyExists(message) from None


class unavailable_when_lost:
    """Turns a lost database or an exhausted pool into `NothingDone`, and a full disk into `DiskFull`.

    Nothing was done: a transaction that was not committed is rolled back. Other errors pass. It belongs around what
    is asked of the database, and never around anybody's own code, whose errors of the system would be taken for the
    database's.
    """

    unavailable: type[TemporarilyUnavailable] = NothingDone

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None or isinstance(error, TemporarilyUnavailable) or not is_lost(error):
            return
        full = _is_full(error)
        _tell(error, "the disk of the database is full" if full else "the database does not answer")
        if full:
            raise DiskFull(DISK_FULL, retry_after_s=_FULL_RETRY_AFTER_S) from error
        raise self.unavailable(
            "The registry's database does not answer. Try again shortly.", retry_after_s=_RETRY_AFTER_S
        ) from error


class unknown_when_lost(unavailable_when_lost):
    """The same around what commits: it may have been done, so what it turns to is `TemporarilyUnavailable`."""

    unavailable = TemporarilyUnavailable


@contextmanager
def nothing_done_yet() -> Iterator[None]:
    """Turns `TemporarilyUnavailable` into `NothingDone`: it belongs around what comes before the first change."""
    try:
        yield
    except TemporarilyUnavailable as error:
        raise NothingDone(error.message, retry_after_s=error.retry_after_s) from error


@contextmanager
def done_already() -> Iterator[None]:
    """Turns `NothingDone` back into `TemporarilyUnavailable`: it belongs around what comes after the first change."""
    try:
        yield
    except NothingDone as error:
        raise TemporarilyUnavailable(error.message, retry_after_s=error.retry_after_s) from error


def is_lost(error: BaseException) -> bool:
    """Whether the database is away or out of resources, and the statement itself is not what is wrong."""
    cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else None
    if isinstance(cause, ValueError):
        # The driver refused a value before it asked the server: our mistake, whatever class it gives it.
        return False
    if isinstance(error, _OUTAGES):
        return True
    if isinstance(error, PendingRollbackError):
        # The connection was lost before, and whoever heard of it went on.
        return True
    state = _state(error)
    return state[:2] in _PASSING_STATES or (isinstance(error, DBAPIError) and error.connection_invalidated)


def _state(error: BaseException) -> str:
    return str(getattr(_refused(error), "sqlstate", None) or "")


def _refused(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _is_full(error: BaseException) -> bool:
    refused = _refused(error)
    name = str(getattr(refused, "sqlite_errorname", ""))
    return _state(error) == _DISK_FULL_STATE or name == _SQLITE_FULL or getattr(refused, "errno", 0) == errno.ENOSPC


def _tell(error: BaseException, what: str) -> None:
    """Says why in the log, each reason once in a while: a database that is away fails every request."""
    refused = _refused(error)
    reason = f"{type(refused).__name__}: {refused}" if str(refused) else type(refused).__name__
    name, now = getattr(refused, "sqlite_errorname", None) or _state(error), time.monotonic()
    shown = f"{reason} ({name})" if name else reason
    key = f"{what} {type(refused).__name__} {name}"
    if now - _told.get(key, -_LOG_EVERY_S) >= _LOG_EVERY_S:
        _told[key] = now
        log.warning("%s: %s", what, shown)
