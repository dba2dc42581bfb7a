"""What is served changes only when the new version is loaded, and a failed load changes nothing."""

import asyncio
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tiltyard.errors import (
    BadRequest,
    InternalError,
    InvalidParameterValue,
    MissingPackage,
    ModelIntegrityError,
    ModelUnreadable,
    TemporarilyUnavailable,
)
from tiltyard_serving.models.served_model import ServedModel
from tiltyard_serving.models.target import ModelTarget
from tiltyard_serving.operations.metrics import Telemetry

ONE, TWO, THREE = (ModelTarget(f"models:/iris/{number}", "iris", str(number)) for number in (1, 2, 3))


class Version:
    """What a load gives, as far as a `ServedModel` knows it."""

    def __init__(self, target: ModelTarget) -> None:
        self.name, self.version = target.name, target.version
        self.merging = True
        self.warning: str | None = None
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Loads:
    """Loads that end when they are told to, each with success or with an error."""

    def __init__(self) -> None:
        self.begun: list[ModelTarget] = []
        self.given: list[Version] = []
        self.failures: dict[ModelTarget, BaseException] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, target: ModelTarget) -> Any:
        self.begun.append(target)
        await self.gate.wait()
        if target in self.failures:
            raise self.failures[target]
        self.given.append(Version(target))
        return self.given[-1]


def serve(loads: Loads, telemetry: Telemetry | None = None) -> ServedModel:
    return ServedModel(
        "models:/iris@champion", "models:/iris@champion", loads, telemetry or Telemetry(), first_retry_s=0.02
    )


def version(served: ServedModel) -> str | None:
    return served.slot.current.version if served.slot.current else None


async def test_the_old_version_serves_until_the_new_one_is_loaded() -> None:
    """During a load the version before it answers; afterwards the new one does and the old one is closed."""
    loads = Loads()
    served = serve(loads)
    served.want(ONE)
    await served.settled()
    loads.gate.clear()
    served.want(TWO)
    await until(lambda: TWO in loads.begun)
    assert version(served) == "1"
    loads.gate.set()
    await until(lambda: version(served) == "2")
    assert [given.closed for given in loads.given] == [True, False]
    served.close()


async def test_a_load_that_fails_keeps_the_old_version_and_is_reported() -> None:
    """A failed load changes nothing that is served; it is counted, named, and tried again."""
    loads, telemetry = Loads(), Telemetry()
    served = serve(loads, telemetry)
    served.want(ONE)
    await served.settled()
    loads.failures[TWO] = ValueError("/secret/path is broken")
    served.want(TWO)
    await until(lambda: loads.begun.count(TWO) >= 2)
    assert version(served) == "1"
    assert served.problem is not None
    assert "iris/2" in served.problem
    assert "secret" not in served.problem
    text = telemetry.text().decode()
    assert 'model_loads_total{outcome="failed",served="models:/iris@champion"}' in text
    assert 'model_stale{served="models:/iris@champion"} 1.0' in text
    assert 'model_ready{served="models:/iris@champion"} 1.0' in text
    loads.failures.clear()
    await until(lambda: version(served) == "2")
    assert served.problem is None
    served.close()


async def test_going_back_during_a_load_keeps_what_is_served() -> None:
    """A rollback to the version that still serves needs no load, and the loaded one is given up."""
    loads = Loads()
    served = serve(loads)
    served.want(ONE)
    await served.settled()
    loads.gate.clear()
    served.want(TWO)
    await until(lambda: TWO in loads.begun)
    served.want(ONE)
    loads.gate.set()
    await until(lambda: len(loads.given) == 2 and loads.given[1].closed)
    assert version(served) == "1"
    assert [given.closed for given in loads.given] == [False, True]
    assert loads.begun == [ONE, TWO]
    served.close()


async def test_the_last_wish_wins() -> None:
    """However many versions were wanted meanwhile, the last one is served in the end."""
    loads = Loads()
    served = serve(loads)
    loads.gate.clear()
    for target in (ONE, TWO, THREE):
        served.want(target)
        await until(lambda: loads.begun == [ONE])
    loads.gate.set()
    await until(lambda: version(served) == "3")
    assert [given.closed for given in loads.given if given.version != "3"] == [True]
    served.close()


async def test_another_wish_ends_the_wait_for_a_retry() -> None:
    """After a failed load another version is loaded at once, however long the retry would take."""
    loads = Loads()
    served = ServedModel("models:/iris@champion", "iris", loads, Telemetry(), first_retry_s=60.0)
    loads.failures[ONE] = OSError("disk")
    served.want(ONE)
    with pytest.raises(TemporarilyUnavailable):
        await served.settled()
    served.want(TWO)
    await until(lambda: version(served) == "2")
    served.close()


async def test_a_problem_ends_with_the_version_that_serves() -> None:
    """When the URI names again what is served, the problem reported meanwhile is over."""
    loads = Loads()
    served = serve(loads)
    served.want(ONE)
    await served.settled()
    served.report("models:/iris@champion names nothing")
    served.want(ONE)
    assert served.problem is None
    served.close()


async def test_our_own_errors_are_named_in_the_problem() -> None:
    """A message that is made for callers is part of the problem."""
    loads = Loads()
    served = serve(loads)
    loads.failures[ONE] = BadRequest("the digest differs")
    served.want(ONE)
    await until(lambda: served.problem is not None)
    assert served.problem is not None
    assert "the digest differs" in served.problem
    served.close()


async def test_closing_retires_the_version_when_its_lease_ends() -> None:
    """A closed one leases nothing more, and what is in flight keeps its version."""
    loads = Loads()
    served = serve(loads)
    served.want(ONE)
    await served.settled()
    with served.slot.lease() as model:
        served.close()
        assert not model.closed  # type: ignore[attr-defined]
    assert loads.given[0].closed
    with pytest.raises(TemporarilyUnavailable):
        served.slot.lease()


async def test_what_does_not_answer_its_example_replaces_nothing_that_does() -> None:
    """A version with a warning is served where there is no other, and where the one before it has a warning too."""
    telemetry = Telemetry()
    warned = {TWO, THREE}

    class Warned(Loads):
        async def __call__(self, target: ModelTarget) -> Any:
            version = await super().__call__(target)
            version.warning = "no answer to its example" if target in warned else None
            return version

    served = ServedModel("m", "m", Warned(), telemetry, first_retry_s=60)
    served.want(TWO)
    await served.settled()
    assert served.current == TWO
    assert 'tiltyard_serving_model_warned{served="m"} 1.0' in telemetry.text().decode()
    served.want(THREE)
    await until(lambda: served.current == THREE)
    served.want(ONE)
    await until(lambda: served.current == ONE)
    assert 'tiltyard_serving_model_warned{served="m"} 0.0' in telemetry.text().decode()
    served.want(TWO)
    await until(lambda: served.problem is not None)
    assert served.current == ONE
    assert "example" in str(served.problem)
    served.close()


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


FAILURES = {
    "a damaged file": (_caused(ModelUnreadable("its file is damaged"), EOFError("cut off")), "WARNING", False),
    "the model's own code": (_caused(InvalidParameterValue("its own code failed"), KeyError("k")), "WARNING", True),
    "a bad MLmodel": (InvalidParameterValue("no loader"), "WARNING", False),
    "a missing package": (_caused(MissingPackage("it needs x"), ModuleNotFoundError("x")), "WARNING", False),
    "changed bytes": (ModelIntegrityError("the digest differs"), "WARNING", False),
    "a fault of ours": (AssertionError("never"), "ERROR", True),
    "a fault of ours that is told": (InternalError("Internal error."), "ERROR", False),
}


@pytest.mark.parametrize("error, level, traced", FAILURES.values(), ids=FAILURES)
async def test_a_load_that_fails_is_logged_once_as_whose_fault_it_is(
    error: Exception, level: str, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A model's fault is one warning, with a traceback where its own code raised; an error is a fault of ours."""
    loads = Loads()
    loads.failures[ONE] = error
    served = serve(loads)
    served.want(ONE)
    await until(lambda: len(loads.begun) > 2)
    served.close()
    [record] = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert record.levelname == level
    assert "iris/1 could not be loaded" in record.getMessage()
    assert bool(record.exc_info) is traced
