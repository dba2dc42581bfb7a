"""Transfers past this process: signatures as Amazon's own library makes them, uploads in parts by others, and URLs."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tiltyard import errors
from tiltyard.storage import ArtifactStore, open_store
from tiltyard.storage.artifact_store import DirectTransfers
from tiltyard.storage.s3_direct import S3Direct, refusal_of, uploads_in
from tiltyard.storage.s3_signature import Keys, encoded, find_keys, presign, signed_headers

from .test_artifact_store import names, put, read

PART = 5 << 20
TEXT = st.text("abAB09 /=&%+~-_.é*'", min_size=1, max_size=12)
QUERY = st.dictionaries(TEXT, TEXT, max_size=4)


@pytest.fixture
def store(s3_uri: str) -> ArtifactStore:
    """A bucket of a real S3 protocol server, below a prefix."""
    return open_store(f"{s3_uri}/some/prefix")


def direct_of(store: ArtifactStore) -> DirectTransfers:
    assert store.direct is not None
    return store.direct


def send(url: str, data: bytes) -> str:
    """Puts one part as the stock client does, and gives its etag."""
    answer = requests.put(url, data=data, timeout=30)
    answer.raise_for_status()
    return answer.headers["ETag"]


def fetch(url: str) -> tuple[bytes, Mapping[str, str]]:
    answer = requests.get(url, timeout=30)
    answer.raise_for_status()
    return answer.content, answer.headers


@given(key=TEXT, query=QUERY, token=st.sampled_from(["", "a/b+c=="]), body=st.binary(max_size=20))
def test_signatures_are_those_of_amazons_library(key: str, query: dict[str, str], token: str, body: bytes) -> None:
    """In a URL and in headers, for any key, query, body and temporary token."""
    keys = Keys("AKID", "s3cr3t/+", token)
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, token or None)
    now = datetime.now(UTC)
    url = f"https://bucket.s3.eu-west-1.amazonaws.com/{quote(key, safe='-_.~/')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: now.replace(tzinfo=None), raising=False)
        # With its parameters in the URL it signs what is there; given apart it encodes them by other rules.
        theirs = AWSRequest("GET", f"{url}?{encoded(query)}" if query else url)
        S3SigV4QueryAuth(credentials, "s3", "eu-west-1", expires=77).add_auth(theirs)
        stamp = parse_qs(urlsplit(theirs.url).query)["X-Amz-Date"][0]
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        ours = presign("GET", url, query, keys=keys, region="eu-west-1", expires_s=77, now=at)
        assert signature(ours) == signature(theirs.url)
        asked = AWSRequest("POST", f"{url}?{encoded(query)}" if query else url, data=body)
        S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(asked)
        at = datetime.strptime(asked.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        headers = signed_headers("POST", url, query, body, keys=keys, region="eu-west-1", now=at)
        assert headers["authorization"].replace(",", ", ") == asked.headers["Authorization"]


def signature(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Signature"][0]


async def test_a_file_is_made_of_parts_that_others_send(store: ArtifactStore) -> None:
    """The URLs take the parts, completing makes the file, once or twice, and nothing is pending afterwards."""
    direct, data = direct_of(store), bytes(range(256)) * 24_000
    path = "1/run/artifacts/dir with space/weights é=.bin"
    upload_id, urls = await direct.create_upload(path, 2)
    etags = [send(urls[0], data[:PART]), send(urls[1], data[PART:])]
    pending = [upload async for upload in store.list_uploads()]
    assert [(upload.upload_id, upload.path, upload.size_bytes) for upload in pending] == [(upload_id, path, len(data))]
    assert await names(store, "", recursive=True) == []
    for _ in range(2):
        await direct.complete_upload(path, upload_id, list(enumerate(etags, 1)))
    assert await read(store, path) == data
    assert (await store.head(path)).size_bytes == len(data)
    assert [upload async for upload in store.list_uploads()] == []


async def test_an_ended_upload_is_known_by_its_parts(s3_uri: str) -> None:
    """Of a completed upload S3 remembers the object alone; whose parts it is made of can still be told."""
    store = open_store(s3_uri)
    direct = store.direct
    assert isinstance(direct, S3Direct)
    upload_id, (url,) = await direct.create_upload("a", 1)
    etag = send(url, b"whole")
    assert not await direct.was_made_of("a", [(1, etag)])
    await direct.complete_upload("a", upload_id, [(1, etag)])
    assert await direct.was_made_of("a", [(1, etag)])
    for other in ([(1, etag), (2, etag)], [(1, '"x"')], [(1, '"' + "0" * 32 + '"')]):
        assert not await direct.was_made_of("a", other)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "NoSuchUpload", errors.ResourceDoesNotExist),
        (200, "InvalidPart", errors.InvalidParameterValue),
        (403, "SignatureDoesNotMatch", errors.InternalError),
        (404, "NoSuchBucket", errors.InternalError),
        (503, "SlowDown", errors.TemporarilyUnavailable),
        (500, "", errors.TemporarilyUnavailable),
    ],
)
def test_what_s3_refuses_is_told_without_its_words(status: int, code: str, error: type[Exception]) -> None:
    """The caller's mistakes, ours, and what passes."""
    assert type(refusal_of(status, code)) is error


async def test_parts_that_make_no_file_are_the_callers_mistake(store: ArtifactStore) -> None:
    """Too small, unknown, out of order, or none at all."""
    direct = direct_of(store)
    upload_id, urls = await direct.create_upload("a", 2)
    etags = [send(url, b"small") for url in urls]
    wrong: list[list[tuple[int, str]]] = [
        list(enumerate(etags, 1)), [(1, '"0123"')], [(2, etags[1]), (1, etags[0])], []
    ]  # fmt: skip
    for parts in wrong:
        with pytest.raises(errors.InvalidParameterValue):
            await direct.complete_upload("a", upload_id, parts)
    assert await names(store, "", recursive=True) == []


async def test_a_part_url_is_worth_nothing_once_the_upload_has_ended(store: ArtifactStore) -> None:
    """After completion, and after giving up, a part is refused; giving up twice is fine."""
    direct = direct_of(store)
    upload_id, (url,) = await direct.create_upload("a", 1)
    await direct.complete_upload("a", upload_id, [(1, send(url, b"whole"))])
    with pytest.raises(requests.HTTPError):
        send(url, b"other")
    other_id, (other,) = await direct.create_upload("a", 1)
    for _ in range(2):
        await direct.abort_upload("a", other_id)
    with pytest.raises(requests.HTTPError):
        send(other, b"other")
    assert await read(store, "a") == b"whole"


@pytest.mark.parametrize("prefix", ["", "/p", "/p q/é"])
async def test_a_download_url_gives_the_bytes_as_a_file(new_s3_uri: Callable[[], str], prefix: str) -> None:
    """Whatever the name and the prefix; ranges too."""
    store = open_store(new_s3_uri() + prefix)
    await put(store, "d/ä b+c.bin", b"0123456789")
    url = await direct_of(store).download_url("d/ä b+c.bin", expires_s=60)
    body, headers = fetch(url)
    assert body == b"0123456789"
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%A4%20b%2Bc.bin"
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["60"]


async def test_an_upload_of_ours_that_was_left_can_be_given_up(store: ArtifactStore) -> None:
    """What a killed process leaves on S3 is listed and removed like any other upload."""
    direct = direct_of(store)
    await direct.create_upload("x/y", 1)
    (left,) = [upload async for upload in store.list_uploads()]
    await store.abort_upload(left)
    assert [upload async for upload in store.list_uploads()] == []


def test_what_amazon_says_of_uploads_is_understood() -> None:
    """The sample of the API's reference: key, id, and when it began."""
    text = (
        "<ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>false</IsTruncated><Upload><Key>my%20divisor</Key>"
        "<UploadId>XMgbGlrZSBlbHZpbmcncyBub3QgaGF2aW5nIG11Y2ggbHVjaw</UploadId><Owner><ID>1</ID></Owner>"
        "<StorageClass>STANDARD</StorageClass><Initiated>2010-11-10T20:48:33.000Z</Initiated></Upload></L>"
    )
    began = int(datetime(2010, 11, 10, 20, 48, 33, tzinfo=UTC).timestamp() * 1000)
    assert list(uploads_in(text)) == [("my divisor", "XMgbGlrZSBlbHZpbmcncyBub3QgaGF2aW5nIG11Y2ggbHVjaw", began)]


def test_a_store_without_keys_or_of_another_kind_offers_nothing(
    tmp_path: Path, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory, memory, and S3 whose keys this process does not know."""
    assert open_store(tmp_path.as_uri()).direct is None
    assert open_store(f"memory://{tmp_path.name}").direct is None
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert open_store(s3_uri).direct is None


def test_temporary_keys_come_with_their_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are read anew each time."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "c")
    keys = find_keys()
    assert keys is not None and keys() == Keys("a", "b", "c")
