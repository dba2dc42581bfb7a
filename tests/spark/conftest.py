"""One Spark session and one registry for all tests of batch scoring: starting each costs seconds."""

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tiltyard
from tests.fixtures.java import SHORT_LIFE
from tests.fixtures.services import Service
from tiltyard.cache.private_directory import DIRECTORY_VARIABLE

NUMBERS = "main.batch.numbers"
MIXED = "main.batch.mixed"


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model cache of these tests' own, on the driver and in every Python worker."""
    return tmp_path_factory.mktemp("model-cache")


@pytest.fixture(autouse=True, scope="module")
def cache_of_the_driver(cache_dir: Path, environment_of_the_module: None) -> None:
    """Told to each module anew: what one of them puts into the environment is forgotten after it."""
    os.environ[DIRECTORY_VARIABLE] = str(cache_dir)


@pytest.fixture(autouse=True, scope="package")
def virtual_machines_for_a_short_life() -> Iterator[None]:
    """Every Java that these tests start compiles quickly rather than well: each lives for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        _set(patch, SHORT_LIFE)
        yield


def _set(patch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        patch.setenv(name, value)


@pytest.fixture(scope="session")
def spark(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark session of two local cores."""
    from tiltyard.spark.jobs.session import open_session

    conf = {
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("tables")),
        f"spark.executorEnv.{DIRECTORY_VARIABLE}": str(cache_dir),
    }
    with pytest.MonkeyPatch.context() as patch:
        _set(patch, SHORT_LIFE)
        session = open_session(app_name="tests", master="local[2]", conf=conf)
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def registry_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running registry with both models of these tests."""
    folder = tmp_path_factory.mktemp("batch-registry")
    service = Service("registry", "--data-dir", str(folder / "data"), log=folder / "registry.log").start()
    yield service
    if service.running:
        service.terminate()


@pytest.fixture(scope="session")
def flowers() -> pd.DataFrame:
    """A thousand rows of four doubles."""
    random = np.random.default_rng(3)
    return pd.DataFrame(random.normal(size=(1000, 4)), columns=["a b", "b", "c", "d"])


@pytest.fixture(scope="session")
def customers() -> pd.DataFrame:
    """A thousand rows of doubles with gaps, integers near 2**53, texts and booleans."""
    random = np.random.default_rng(4)
    count = 1000
    return pd.DataFrame(
        {
            "age": np.where(random.random(count) < 0.1, np.nan, random.uniform(18, 90, count)),
            "visits": random.integers(2**53 - 50, 2**53, count),
            "plan": random.choice(["free", "pro", "größe"], count),
            "active": random.random(count) < 0.5,
        }
    )


@pytest.fixture(scope="session")
def registry_url(registry_service: Service, flowers: pd.DataFrame, customers: pd.DataFrame, cache_dir: Path) -> str:
    """The registry's address, once version 1 of each model is champion there."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    url = registry_service.url
    label = (flowers.sum(axis=1) > 0).astype(int)
    register(LogisticRegression().fit(flowers, label), NUMBERS, flowers, url)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["plan"]), remainder="passthrough"
    )
    mixed = make_pipeline(encode, HistGradientBoostingRegressor(max_iter=10))
    register(mixed.fit(customers, customers["age"].fillna(0)), MIXED, customers, url)
    return url


def register(model: Any, name: str, example: pd.DataFrame, url: str, **options: Any) -> int:
    """Logs and registers `model`, makes it champion, and gives its version."""
    if "signature" not in options:
        options["signature"] = tiltyard.infer_signature(example, model.predict(example))
    logged = tiltyard.log_model(model, "model", registered_model_name=name, registry_url=url, **options)
    assert logged.registered_model_version is not None
    with tiltyard.Client(url) as client:
        client.set_alias(name, "champion", logged.registered_model_version)
    return logged.registered_model_version


def invoke(url: str, frame: pd.DataFrame) -> list[Any]:
    """The predictions of the scoring service for `frame`."""
    split = {"columns": list(frame.columns), "data": [list(row) for row in frame.astype(object).to_numpy()]}
    for row in split["data"]:
        row[:] = [None if isinstance(value, float) and np.isnan(value) else value for value in row]
    request = urllib.request.Request(
        f"{url}/invocations",
        json.dumps({"dataframe_split": split}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        predictions: list[Any] = json.load(response)["predictions"]
        return predictions
