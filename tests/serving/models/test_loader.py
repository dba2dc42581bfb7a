"""A load that nobody waits for any more gives everything back."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tiltyard import models
from tiltyard.cache.cached_model import CachedModel
from tiltyard.models import ModelReference
from tiltyard_serving.endpoints.entities import parse_entity
from tiltyard_serving.endpoints.supplier import ModelSupplier
from tiltyard_serving.isolation.model import IsolatedModel
from tiltyard_serving.models import loader as module
from tiltyard_serving.models.loader import LOADS_AT_ONCE, Loader
from tiltyard_serving.models.target import ModelTarget
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import ServingSettings
from tiltyard_serving.warm_up.warm_up import WarmUp


class Held:
    """Loads that begin, and end when they are told to."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.released: list[Path] = []
        self.ended = 0


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Has every load wait before its model is warmed, and notes what is given back."""
    held = Held()

    class Files(CachedModel):
        def release(self) -> None:
            held.released.append(self.path)

    class Apart(IsolatedModel):
        signature = shortcut = None
        resident_bytes = 1

        def __init__(self) -> None:
            pass

        def close(self) -> None:
            held.ended += 1

    def warm_up(*_given: Any, **_told: Any) -> WarmUp:
        held.begun.release()
        held.go.wait()
        return WarmUp(None, None)

    monkeypatch.setattr(models, "resolve", lambda uri, **_told: ModelReference(uri, uri, named=True))
    monkeypatch.setattr(models, "fetch", lambda reference, **_told: Files(Path(reference.location)))
    monkeypatch.setattr(module, "isolated", lambda *_given: Apart())
    monkeypatch.setattr(module, "warm_up", warm_up)
    return held


async def test_what_was_loaded_for_nobody_is_given_back(held: Held, tmp_path: Path) -> None:
    """An endpoint that is closed while its version loads leaves no lease and no process."""
    supply = ModelSupplier(ServingSettings(cache_dir=tmp_path), Telemetry())
    (tmp_path / "MLmodel").touch()
    entity = parse_entity(f"m={tmp_path}")._replace(isolation="process")
    served = supply.serve(entity)
    served.want(ModelTarget("somewhere"))
    await until(lambda: held.begun.acquire(blocking=False))
    supply.end(served)
    held.go.set()
    await until(lambda: held.released)
    assert held.released == [Path("somewhere")]
    assert held.ended == 1


async def test_a_load_in_vain_keeps_its_place_until_it_is_done(held: Held, tmp_path: Path) -> None:
    """As many threads load as may, and no more, also when those who waited for them have left."""
    loader = Loader(ServingSettings(cache_dir=tmp_path), Telemetry())
    tasks = [
        asyncio.create_task(loader.load(ModelTarget(f"{number}"), "m", "process")) for number in range(LOADS_AT_ONCE)
    ]
    for _ in tasks:
        await until(lambda: held.begun.acquire(blocking=False))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    late = asyncio.create_task(loader.load(ModelTarget("late"), "m", "process"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not held.begun.acquire(blocking=False)
    late.cancel()
    held.go.set()
    await until(lambda: len(held.released) == LOADS_AT_ONCE)
    assert sorted(held.released) == [Path(f"{number}") for number in range(LOADS_AT_ONCE)]
