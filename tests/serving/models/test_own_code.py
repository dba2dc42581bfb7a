"""What is served runs the files of its own version: two models, a promotion, a rollback, a split of traffic."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.serving.in_process import running
from tiltyard_serving.endpoints.entities import parse_entity
from tiltyard_serving.endpoints.supplier import ModelSupplier
from tiltyard_serving.models.target import ModelTarget
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.settings import ServingSettings

BODY = {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}
LOADER = """
import early
class Model:
    def predict(self, data):
        import late
        return [[early.VALUE, late.VALUE]] * len(data)
def _load_pyfunc(path):
    return Model()
"""


def write(path: Path, version: int) -> Path:
    """A model whose loader and helpers are in its code directory, under names that every version has."""
    (path / "code").mkdir(parents=True)
    (path / "code" / "loader.py").write_text(LOADER)
    for name in ("early", "late"):
        (path / "code" / f"{name}.py").write_text(f"VALUE = {version}\n")
    flavor = {"loader_module": "loader", "code": "code"}
    (path / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    (path / "serving_input_example.json").write_text(json.dumps(BODY))
    return path


async def test_two_endpoints_run_their_own_files(tmp_path: Path) -> None:
    """Two models whose modules have the same names answer with their own, in turn and at once."""
    models = tuple(f"m{version}={write(tmp_path / str(version), version)}" for version in (1, 2))
    async with running(models=models) as app:
        paths = [f"/serving-endpoints/m{version}/invocations" for version in (1, 2, 1)]
        answers = await asyncio.gather(*(app.request("POST", path, BODY) for path in paths * 4))
    assert [answer.predictions for answer in answers] == [[[1, 1]], [[2, 2]], [[1, 1]]] * 4


async def test_a_promotion_and_its_rollback_run_their_own_files(tmp_path: Path) -> None:
    """After each swap the answers are those of the version that serves, whichever was loaded before."""
    supply = ModelSupplier(ServingSettings(cache_dir=tmp_path / "cache"), Telemetry())
    one, two = (ModelTarget(str(write(tmp_path / str(version), version))) for version in (1, 2))
    served = supply.serve(parse_entity(f"m={one.uri}"))
    for version, target in ((1, one), (2, two), (1, one), (2, two)):
        served.want(target)
        await until(lambda target=target: served.current == target)
        with served.slot.lease() as model:
            answer = await model.answer(model.decode(json.dumps(BODY).encode(), "application/json"))
        assert json.loads(answer)["predictions"] == [[version, version]]
    supply.end(served)
    supply.close()


@pytest.mark.parametrize("text", ["[" * 200_000, "- " * 100_000, "{a: " * 100_000])
async def test_a_file_that_would_end_the_process_leaves_the_old_version(tmp_path: Path, text: str) -> None:
    """A version whose MLmodel is nested without end cannot be loaded, and the one before it goes on."""
    supply = ModelSupplier(ServingSettings(cache_dir=tmp_path / "cache"), Telemetry())
    one, broken = ModelTarget(str(write(tmp_path / "1", 1))), ModelTarget(str(tmp_path / "broken"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "MLmodel").write_text(text)
    served = supply.serve(parse_entity(f"m={one.uri}"))
    served.want(one)
    await served.settled()
    served.want(broken)
    await until(lambda: served.problem)
    assert served.current == one
    assert "nested" in served.problem
    supply.end(served)
    supply.close()
