"""Signatures of requests to S3, in a URL or in headers; and whose keys they are made with.

Source: AWS Signature Version 4, 'Authenticating Requests: Using Query Parameters' and '… Using the Authorization
Header' in the Amazon S3 API Reference.
"""

import hashlib
import hmac
import importlib
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"


class Keys(NamedTuple):
    """What requests are signed with; `token` is empty unless the keys are temporary."""

    access_key_id: str
    secret_access_key: str
    token: str = ""


def find_keys() -> Callable[[], Keys] | None:
    """A function that gives the keys valid now, or None when this process has none that it may sign with.

    `AWS_ACCESS_KEY_ID` and its fellows; else, when the package is installed, botocore's whole chain (web identity,
    containers, instance profiles), which may ask the network on each call.
    """
    if os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"):
        return lambda: Keys(
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
            os.environ.get("AWS_SESSION_TOKEN", ""),
        )
    if not find_spec("botocore"):
        return None
    credentials: Any = importlib.import_module("botocore.session").Session().get_credentials()
    if credentials is None:
        return None

    def frozen() -> Keys:
        now = credentials.get_frozen_credentials()
        return Keys(now.access_key, now.secret_key, now.token or "")

    return frozen


def presign(
    method: str, url: str, query: Mapping[str, str], *, keys: Keys, region: str, expires_s: int, now: datetime
) -> str:
    """`url` with `query` and a signature: whoever has it may make that one request until `expires_s` have passed."""
    scope = _scope(now, region)
    signed = {
        **query,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key_id}/{scope}",
        "X-Amz-Date": _stamp(now),
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if keys.token:
        signed["X-Amz-Security-Token"] = keys.token
    text = encoded(signed)
    signature = _signature(method, url, text, {"host": urlsplit(url).netloc}, _UNSIGNED, keys, scope, now)
    return f"{url}?{text}&X-Amz-Signature={signature}"


def signed_headers(
    method: str, url: str, query: Mapping[str, str], body: bytes, *, keys: Keys, region: str, now: datetime
) -> dict[str, str]:
    """The headers with which `method url?query` is answered; they, and not the URL, hold the signature."""
    scope, digest = _scope(now, region), hashlib.sha256(body).hexdigest()
    headers = {"host": urlsplit(url).netloc, "x-amz-content-sha256": digest, "x-amz-date": _stamp(now)}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    signature = _signature(method, url, encoded(query), headers, digest, keys, scope, now)
    names = ";".join(sorted(headers))
    headers["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access_key_id}/{scope},SignedHeaders={names},Signature={signature}"
    )
    del headers["host"]
    return headers


def encoded(query: Mapping[str, str]) -> str:
    """The query string as S3 reads it for a signature: sorted, and percent-encoded but for unreserved characters."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _signature(
    method: str,
    url: str,
    query: str,
    headers: Mapping[str, str],
    payload: str,
    keys: Keys,
    scope: str,
    now: datetime,
) -> str:
    names = sorted(headers)
    lines = [method, urlsplit(url).path or "/", query, *(f"{name}:{headers[name]}" for name in names)]
    request = "\n".join([*lines, "", ";".join(names), payload])
    text = "\n".join([_ALGORITHM, _stamp(now), scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret_access_key}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _scope(now: datetime, region: str) -> str:
    return f"{_stamp(now)[:8]}/{region}/s3/aws4_request"
