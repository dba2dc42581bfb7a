"""The same answers on the Sparks that people run: separate executors, a standalone master, Spark Connect."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tiltyard
from tests.fixtures.java import SHORT_LIFE
from tests.fixtures.processes import GuardedProcess, unused_port
from tests.fixtures.services import StartService
from tests.spark import deployments
from tests.spark.conftest import register

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(deployment: str, registry: StartService, flowers: pd.DataFrame, tmp_path: Path) -> dict[str, Any]:
    """What the script printed, after it was held to the model's own answers."""

    # No estimator: each of the many Python workers would import scikit-learn for it.
    def predict(frame: Any) -> Any:
        return (frame.sum(axis=1) > 0).to_numpy().astype("int64")

    service = registry()
    signature = tiltyard.infer_signature(flowers, predict(flowers))
    register(predict, "main.deployed.flowers", flowers, service.url, signature=signature)
    source = tmp_path / "in.parquet"
    flowers.assign(key=np.arange(len(flowers))).to_parquet(source)
    arguments = [deployment, "models:/main.deployed.flowers@champion", service.url, str(source), str(service.pid)]
    done = subprocess.run(
        [sys.executable, deployments.__file__, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=540,
        cwd=tmp_path,
        env=os.environ
        | SHORT_LIFE
        | {"TILTYARD_CACHE_DIR": str(tmp_path / "cache"), "SPARK_WORKER_DIR": str(tmp_path / "work")},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr[-4000:]
    assert not service.running
    found: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    expected = predict(flowers).tolist()
    assert found["score"] == expected
    assert found["udf"] == expected
    assert found["sql"] == [expected, expected]
    assert found["versions"] == [1]
    return found


def test_executors_in_processes_of_their_own(registry: StartService, flowers: pd.DataFrame, tmp_path: Path):
    """Two executors without shared memory score with the registry gone, and the probe hears from both.

    An executor that is killed in the middle of a job costs no row and doubles none. In an environment that was built
    for the model and sent as an archive the answers are the same.
    """
    found = run("local-cluster[2,1,1024]", registry, flowers, tmp_path)
    assert found["executors"] == 2
    assert found["after_crash"] == found["score"]
    assert found["packed"] == found["score"]
    assert len(found["prefixes"]) == 2
    assert all("/tiltyard-env-" in prefix for prefix in found["prefixes"])


@pytest.fixture
def standalone_master(tmp_path: Path) -> Iterator[str]:
    """A standalone master with two workers of one core."""
    import pyspark

    from tiltyard.java import java_home

    home = Path(pyspark.__file__).parent
    env = os.environ | SHORT_LIFE
    env |= {"SPARK_HOME": str(home), "JAVA_HOME": str(java_home()), "PYSPARK_PYTHON": sys.executable}
    master = f"spark://127.0.0.1:{unused_port()}"
    log = tmp_path / "standalone.log"
    started = []

    def start(part: str, *arguments: str) -> None:
        command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{part}", *arguments]
        with log.open("ab") as output:
            started.append(
                GuardedProcess(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=env)
            )

    port = master.rpartition(":")[2]
    start("master.Master", "--host", "127.0.0.1", "--port", port, "--webui-port", "0")
    for i in range(2):
        at = ["--host", "127.0.0.1", "--webui-port", "0", "--work-dir", str(tmp_path / f"worker-{i}")]
        start("worker.Worker", "--cores", "1", "--memory", "1g", *at, master)
    yield master
    for process in reversed(started):
        process.terminate()
    for process in started:
        process.wait(20)


def test_a_standalone_master_with_two_workers(
    standalone_master: str, registry: StartService, flowers: pd.DataFrame, tmp_path: Path
):
    """Executors that a master started on its workers give the same answers."""
    run(standalone_master, registry, flowers, tmp_path)


def test_spark_connect(registry: StartService, flowers: pd.DataFrame, tmp_path: Path):
    """A client that has no JVM gets the same answers from a Connect server."""
    run("connect", registry, flowers, tmp_path)
