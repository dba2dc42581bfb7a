"""Large requests for one model, several of them at once."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_info

from tests.serving.http_calls import Answer
from tests.serving.in_process import running
from tests.serving.saved_models import IRIS, iris
from tiltyard import pyfunc
from tiltyard_serving.batching.openmp import OpenMP
from tiltyard_serving.operations.metrics import Durations

ROWS = 20_000


def threads() -> int:
    """How many threads OpenMP would start for a prediction of this thread."""
    return max(runtime["num_threads"] for runtime in threadpool_info() if runtime["user_api"] == "openmp")


async def test_trees_answer_large_requests_at_once(tmp_path: Path) -> None:
    """Each gets the estimator's own answer to its rows, and where there are processors, two threads predict."""
    estimator, features = iris(HistGradientBoostingRegressor(random_state=0))
    pyfunc.save_model(estimator, tmp_path / "trees", input_example=features[:3], pip_requirements=["scikit-learn"])
    draws = np.random.default_rng(1).uniform(0, 8, (4, ROWS, len(IRIS)))
    async with running(models=(f"trees={tmp_path / 'trees'}",)) as app:

        async def asked(rows: np.ndarray) -> Answer:
            body = pd.DataFrame(rows, columns=IRIS).to_csv(index=False).encode()
            return await app.request("POST", "/invocations", body, [("content-type", "text/csv")])

        for rows in (draws[0], *draws[:2]):
            await asked(rows)
        answers = await asyncio.gather(*map(asked, draws))
        predicting = [thread for thread in threading.enumerate() if thread.name.startswith("predict trees")]
    at_once = OpenMP().at_once
    assert min(2, at_once) <= len(predicting) <= at_once
    for rows, answer in zip(draws, answers, strict=True):
        expected = estimator.predict(pd.DataFrame(rows, columns=IRIS))
        assert answer.json["predictions"] == expected.tolist()


def test_predictions_made_at_once_share_the_processors() -> None:
    """A thread that is told among how many it predicts starts that part of the threads; other threads do not."""
    before = threads()
    found: list[int] = []

    def predict() -> None:
        openmp = OpenMP()
        for among in (1, 2, 1000, 1):
            openmp.share(among)
            found.append(threads())

    thread = threading.Thread(target=predict)
    thread.start()
    thread.join()
    assert found == [before, max(1, before // 2), 1, before]
    assert threads() == before


@pytest.mark.parametrize(("processes", "most"), [(1, 4), (1000, 1)])
def test_processes_share_the_processors(processes: int, most: int) -> None:
    """One process makes as many predictions at once as there are processors, up to four; of many, each makes one."""
    assert OpenMP(processes).at_once == min(most, threads())


def test_many_observations_are_the_same_as_one_by_one() -> None:
    """A histogram that takes all of a turn at once says what it would say after each of them."""
    # Each sum of these is exact, in whatever order a Python adds them.
    amounts = [0.0, 0.125, 0.5, 0.5625, 1.0, 2.0, 7.0]
    together, alone = (Durations(name, "", buckets=(0.125, 0.5, 1), registry=None) for name in ("together", "alone"))
    together.observe_all(amounts)
    together.observe_all(amounts[:2])
    for amount in amounts + amounts[:2]:
        alone.observe(amount)
    [one], [other] = together.collect(), alone.collect()
    said = [(sample.name.partition("_")[2], sample.labels, sample.value) for sample in one.samples]
    assert said == [(sample.name.partition("_")[2], sample.labels, sample.value) for sample in other.samples]
