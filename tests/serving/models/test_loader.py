"""A load that nobody waits for any more gives everything back."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tiltyard.pyfunc.payload.decoder import Decoder
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
        self.closed: list[Any] = []


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Has every load wait, and notes what is given back."""
    held = Held()

    class Isolated(IsolatedModel):
        def __init__(self) -> None:
            pass

        def close(self) -> None:
            held.closed.append(self)

    def fetch(_loader: Loader, target: ModelTarget, _label: str, _isolation: str) -> Any:
        held.begun.release()
        held.go.wait()
        return module._Fetched(Isolated(), Decoder(None), "m", "1", WarmUp(None, None), Path(target.uri), 1, None)

    monkeypatch.setattr(Loader, "_fetch", fetch)
    monkeypatch.setattr(module, "release", held.released.append)
    return held


async def test_what_was_loaded_for_nobody_is_given_back(held: Held, tmp_path: Path) -> None:
    """An endpoint that is closed while its version loads leaves no lease and no process."""
    supply = ModelSupplier(ServingSettings(cache_dir=tmp_path), Telemetry())
    (tmp_path / "MLmodel").touch()
    served = supply.serve(parse_entity(f"m={tmp_path}"))
    served.want(ModelTarget("somewhere"))
    await until(lambda: held.begun.acquire(blocking=False))
    supply.end(served)
    held.go.set()
    await until(lambda: held.released)
    assert held.released == [Path("somewhere")]
    assert len(held.closed) == 1


async def test_a_load_in_vain_keeps_its_place_until_it_is_done(held: Held, tmp_path: Path) -> None:
    """As many threads load as may, and no more, also when those who waited for them have left."""
    loader = Loader(ServingSettings(cache_dir=tmp_path), Telemetry())
    tasks = [asyncio.create_task(loader.load(ModelTarget(f"{number}"), "m", "none")) for number in range(LOADS_AT_ONCE)]
    for _ in tasks:
        await until(lambda: held.begun.acquire(blocking=False))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    late = asyncio.create_task(loader.load(ModelTarget("late"), "m", "none"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not held.begun.acquire(blocking=False)
    late.cancel()
    held.go.set()
    await until(lambda: len(held.released) == LOADS_AT_ONCE)
    assert sorted(held.released) == [Path(f"{number}") for number in range(LOADS_AT_ONCE)]
