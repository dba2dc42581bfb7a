"""Artifacts of any size pass through the registry in a few MiB of its memory."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.memory import PeakMemory
from tests.fixtures.services import Service, StartService
from tiltyard.client import Client
from tiltyard.models import register_model, resolve

MIB = 1 << 20
BLOCK = bytes(range(256)) * 4096


def blocks(size_bytes: int) -> Iterator[bytes]:
    for number in range(size_bytes // MIB):
        yield number.to_bytes(8, "big") + BLOCK[8:]


def transfer(service: Service, size_bytes: int) -> tuple[PeakMemory, float, float]:
    """Uploads, registers and downloads a file of `size_bytes`; gives the memory and both times in seconds."""
    with Client(service.url) as client:
        small = client.create_logged_model("0", name="warm").info
        root = small.artifact_uri.removeprefix("mlflow-artifacts:").strip("/")
        client.upload(f"{root}/small", lambda: blocks(2 * MIB))
        assert b"".join(client.download(f"{root}/small")) == b"".join(blocks(2 * MIB))
        client.upload(f"{root}/small", lambda: blocks(10 * MIB))
        sum(len(chunk) for chunk in client.download(f"{root}/small"))

        big = client.create_logged_model("0", name="big").info
        root = big.artifact_uri.removeprefix("mlflow-artifacts:").strip("/")
        expected = hashlib.sha256()
        for block in blocks(size_bytes):
            expected.update(block)
        with PeakMemory(service) as memory:
            began = time.perf_counter()
            client.upload(f"{root}/big", lambda: blocks(size_bytes))
            uploaded_s = time.perf_counter() - began
            client.finalize_logged_model(big.model_id)
            register_model(f"models:/{big.model_id}", f"big{big.model_id}", client=client)
            began = time.perf_counter()
            came = hashlib.sha256()
            for chunk in client.download(f"{root}/big"):
                came.update(chunk)
            downloaded_s = time.perf_counter() - began
        assert came.hexdigest() == expected.hexdigest()
        manifest = resolve(f"models:/big{big.model_id}/1", client=client).manifest
        assert manifest is not None
        assert [(file.size_bytes, file.sha256) for file in manifest.files] == [(size_bytes, expected.hexdigest())]
        return memory, uploaded_s, downloaded_s


def test_64_mib_leave_no_trace_in_memory(registry: StartService, artifact_root: str) -> None:
    """Upload, registration and download of 64 MiB let the registry grow by less than 32 MiB, on either store."""
    service = registry("--artifact-root", artifact_root)
    memory, _, _ = transfer(service, 64 * MIB)
    assert memory.growth_bytes < 32 * MIB, f"{memory.growth_bytes / MIB:.1f} MiB"


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_2_gib_leave_no_trace_in_memory(
    registry: StartService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same with 2 GiB on the local store, and the speeds, printed."""
    size_bytes = 2048 * MIB
    memory, uploaded_s, downloaded_s = transfer(registry(), size_bytes)
    with capsys.disabled():
        print(
            f"\n2 GiB: upload {size_bytes / MIB / uploaded_s:.0f} MiB/s, download "
            f"{size_bytes / MIB / downloaded_s:.0f} MiB/s, registry grew by {memory.growth_bytes / MIB:.1f} MiB"
        )
    assert memory.growth_bytes < 32 * MIB, f"{memory.growth_bytes / MIB:.1f} MiB"
