"""Transfers between a client and S3 that pass this process by: multipart uploads by others, presigned downloads.

The object-store library neither begins an upload for somebody else nor lists those that were left, so these few
requests are made here. Where an object lies, endpoint, region and style of address included, the library says: it
is read off a URL that it signs.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape, unescape
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

import httpx2
import obstore

from tiltyard.errors import InternalError, InvalidParameterValue, ResourceDoesNotExist, TemporarilyUnavailable
from tiltyard.storage.artifact_store import PendingUpload
from tiltyard.storage.s3_signature import Keys, encoded, find_keys, presign, signed_headers

PART_URL_LIFETIME_S = 3600
"""Longer than the largest part takes on a slow line; a part URL can change no object by itself."""

_PROBE = timedelta(seconds=60)
# S3 may think for minutes about how to put ten thousand parts together.
_TIMEOUT_S = 300.0
_GONE = ("NoSuchUpload", "NoSuchKey")
_REFUSED = ("AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "NoSuchBucket")
_WRONG = {
    "EntityTooSmall": "each part but the last must have at least 5 MiB",
    "InvalidPart": "a part is missing, or its etag is another",
    "InvalidPartOrder": "parts must come in ascending order, each once",
    "MalformedXML": "the list of parts is not one that the store takes",
}


class _Place(NamedTuple):
    """Where an object lies: its URL without a query, and the region that signatures name."""

    url: str
    region: str


class S3Direct:
    """`DirectTransfers` over the objects below one `s3://` URI."""

    def __init__(self, store: Any, uri: str, keys: Callable[[], Keys]) -> None:
        self._store = store
        self._prefix = urlsplit(uri).path.strip("/")
        self._keys = keys

    async def create_upload(self, path: str, num_parts: int) -> tuple[str, list[str]]:
        place = await self._place(path)
        text = await self._ask("POST", place, {"uploads": ""}, headers={"content-type": "application/octet-stream"})
        upload_id = _first(text, "UploadId")
        if not upload_id:
            raise TemporarilyUnavailable("The artifact store began no upload.", retry_after_s=5.0)
        return upload_id, await asyncio.to_thread(self._part_urls, place, upload_id, num_parts)

    def _part_urls(self, place: _Place, upload_id: str, num_parts: int) -> list[str]:
        keys, now = self._keys(), datetime.now(UTC)
        return [
            presign(
                "PUT",
                place.url,
                {"partNumber": str(number), "uploadId": upload_id},
                keys=keys,
                region=place.region,
                expires_s=PART_URL_LIFETIME_S,
                now=now,
            )
            for number in range(1, num_parts + 1)
        ]

    async def complete_upload(self, path: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> None:
        """Makes the object of its parts, `(number, etag)` each. An upload that these parts ended before is fine."""
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>" for number, etag in parts
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        try:
            await self._ask("POST", await self._place(path), {"uploadId": upload_id}, body)
        except ResourceDoesNotExist:
            if not await self.was_made_of(path, parts):
                raise

    async def was_made_of(self, path: str, parts: Sequence[tuple[int, str]]) -> bool:
        # A client whose connection broke completes again; of an ended upload S3 remembers nothing but the object.
        sums = [etag.strip('"') for _, etag in parts]
        if not all(re.fullmatch(r"[0-9a-f]{32}", one) for one in sums):
            return False
        whole = hashlib.md5(b"".join(map(bytes.fromhex, sums)), usedforsecurity=False).hexdigest()
        try:
            meta = await obstore.head_async(self._store, path)
        except FileNotFoundError:
            return False
        return (meta["e_tag"] or "").strip('"') == f"{whole}-{len(sums)}"

    async def abort_upload(self, path: str, upload_id: str) -> None:
        try:
            await self._ask("DELETE", await self._place(path), {"uploadId": upload_id})
        except ResourceDoesNotExist:
            return

    async def download_url(self, path: str, *, expires_s: int) -> str:
        """A URL that anybody may read the object with until `expires_s` have passed, as a download of its name."""
        place = await self._place(path)
        name = quote(path.rpartition("/")[2], safe="")
        query = {"response-content-disposition": f"attachment; filename*=UTF-8''{name}"}
        keys = await asyncio.to_thread(self._keys)
        return presign(
            "GET", place.url, query, keys=keys, region=place.region, expires_s=expires_s, now=datetime.now(UTC)
        )

    async def list_uploads(self) -> AsyncIterator[PendingUpload]:
        """Every upload below the root that was begun and not ended, with the bytes that its parts take up."""
        probe = await self._place("x")
        inside = f"{self._prefix}/" if self._prefix else ""
        bucket = _Place(probe.url.removesuffix(f"/{quote(inside)}x"), probe.region)
        query = {"uploads": "", "prefix": inside, "encoding-type": "url"}
        more: Mapping[str, str] | None = {}
        while more is not None:
            text = await self._ask("GET", bucket, query | dict(more))
            for key, upload_id, started_ms in uploads_in(text):
                if key.startswith(inside):
                    path = key[len(inside) :]
                    yield PendingUpload(upload_id, path, await self._size_bytes(path, upload_id), started_ms)
            more = None
            if _first(text, "IsTruncated") == "true":
                more = {
                    "key-marker": unquote(_first(text, "NextKeyMarker")),
                    "upload-id-marker": _first(text, "NextUploadIdMarker"),
                }

    async def _size_bytes(self, path: str, upload_id: str) -> int:
        place, total, marker = await self._place(path), 0, "0"
        while marker:
            try:
                text = await self._ask("GET", place, {"uploadId": upload_id, "part-number-marker": marker})
            except ResourceDoesNotExist:
                return total
            total += sum(map(int, re.findall(r"<Size>(\d+)</Size>", text)))
            marker = _first(text, "NextPartNumberMarker") if _first(text, "IsTruncated") == "true" else ""
        return total

    async def _place(self, path: str) -> _Place:
        signed = urlsplit(await obstore.sign_async(self._store, "GET", path, expires_in=_PROBE))
        region = parse_qs(signed.query)["X-Amz-Credential"][0].split("/")[-3]
        return _Place(urlunsplit(signed._replace(query="")), region)

    async def _ask(
        self,
        method: str,
        place: _Place,
        query: Mapping[str, str],
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        keys = await asyncio.to_thread(self._keys)
        signed = signed_headers(method, place.url, query, body, keys=keys, region=place.region, now=datetime.now(UTC))
        url = f"{place.url}?{encoded(query)}"
        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT_S) as http:
                answer = await http.request(method, url, content=body, headers={**(headers or {}), **signed})
        except httpx2.HTTPError:
            raise TemporarilyUnavailable("The artifact store does not answer.", retry_after_s=5.0) from None
        # An upload is completed with 200 before it is known whether it can be; the error comes in the body.
        if answer.status_code >= 300 or "<Error>" in answer.text[:300]:
            raise refusal_of(answer.status_code, _first(answer.text, "Code"))
        return answer.text


def s3_direct(store: Any, uri: str) -> S3Direct | None:
    """Direct transfers for the store at `uri`, or None when it is not S3 or there are no keys to sign with."""
    if urlsplit(uri).scheme != "s3":
        return None
    keys = find_keys()
    return None if keys is None else S3Direct(store, uri, keys)


def refusal_of(status: int, code: str) -> Exception:
    if code in _GONE or (status == 404 and code not in _REFUSED):
        return ResourceDoesNotExist("There is no such multipart upload: it was completed, aborted, or never begun.")
    if code in _WRONG:
        return InvalidParameterValue(f"The multipart upload cannot be completed: {_WRONG[code]}.")
    if code in _REFUSED:
        return InternalError("The artifact store refuses access.")
    return TemporarilyUnavailable("The artifact store does not answer.", retry_after_s=5.0)


def _first(text: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return unescape(found.group(1)).strip() if found else ""


def uploads_in(text: str) -> Iterator[tuple[str, str, int]]:
    for upload in re.findall(r"<Upload>(.*?)</Upload>", text, re.DOTALL):
        started = datetime.fromisoformat(_first(upload, "Initiated").replace("Z", "+00:00"))
        yield unquote(_first(upload, "Key")), _first(upload, "UploadId"), int(started.timestamp() * 1000)
