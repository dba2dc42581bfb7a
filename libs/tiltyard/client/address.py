"""Where the registry is, and as whom it is called."""

import os
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from tiltyard.client.kept_tokens import kept_token
from tiltyard.errors import InvalidParameterValue

VARIABLES = ("TILTYARD_REGISTRY_URL", "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI")


def registry_url(url: str | None = None) -> str:
    """`url`, else the first of `VARIABLES` that is set, without a trailing slash.

    Raises:
        InvalidParameterValue: none is given, or it is not an http(s) address.
    """
    found = url or next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None)
    if not found:
        raise InvalidParameterValue(f"No registry address: pass 'registry_url' or set one of {', '.join(VARIABLES)}.")
    # A database URI of the tracking variable may hold a password, so no more than its scheme is shown.
    shown = found.partition(":")[0][:20]
    try:
        parts = urlsplit(found)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidParameterValue(
            f"Invalid registry address of scheme '{shown}': expected 'http://HOST:PORT' or 'https://…'."
        )
    return found.rstrip("/")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a client makes itself known. Its text form shows none of it."""

    token: str | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls) -> "Credentials":
        """`TILTYARD_TOKEN`, else `MLFLOW_TRACKING_USERNAME` with `_PASSWORD`, else `MLFLOW_TRACKING_TOKEN`."""
        own = os.environ.get("TILTYARD_TOKEN")
        username = os.environ.get("MLFLOW_TRACKING_USERNAME")
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
        if own:
            return cls(token=own)
        if username and password:
            return cls(username=username, password=password)
        return cls(token=os.environ.get("MLFLOW_TRACKING_TOKEN") or None)

    @classmethod
    def known_for(cls, url: str) -> "Credentials":
        """Those of the environment, else the token that `tiltyard login` keeps for exactly this address."""
        return cls.from_environment() or cls(token=kept_token(url))

    def __bool__(self) -> bool:
        return bool(self.token or self.username)


def without_credentials(url: str) -> tuple[str, Credentials]:
    """`url` without the user and password that it may hold, and these: an address is logged, they are not."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    known = Credentials(username=unquote(parts.username or "") or None, password=unquote(parts.password or ""))
    return urlunsplit(parts._replace(netloc=host)), known
