"""A script for a Spark of its own: scores a table both ways and prints what came out as JSON.

    python deployments.py DEPLOYMENT MODEL_URI REGISTRY_URL INPUT KILL_PID

DEPLOYMENT is a master, or 'connect'. KILL_PID is the registry's process: it is killed once the driver has resolved.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tiltyard
from tiltyard.spark import check_environment, score
from tiltyard.spark.jobs.session import open_session
from tiltyard.spark.scoring.score import apply


def crashing_once(mark: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """A step of a job in which one task kills its executor, the JVM above the Python daemon, and never again."""

    def crash(batches: Iterator[Any]) -> Iterator[Any]:
        from pyspark import TaskContext

        task = TaskContext.get()
        if task is not None and task.partitionId() == 3 and not Path(mark).exists():
            Path(mark).touch()
            daemon = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
            os.kill(int(daemon[1]), signal.SIGKILL)
            time.sleep(60)
        yield from batches

    return crash


def main(deployment: str, model_uri: str, registry_url: str, source: str, kill_pid: int) -> None:
    if deployment == "connect":
        from pyspark.sql import SparkSession

        from tiltyard.java import java_home

        os.environ["JAVA_HOME"] = str(java_home())
        os.environ["PYSPARK_PYTHON"] = sys.executable
        # So its server takes a port that is free; otherwise one machine has only one.
        os.environ["SPARK_TESTING"] = "1"
        spark = SparkSession.builder.remote("local[2]").getOrCreate()
    else:
        settings = {"spark.executor.memory": "512m", "spark.cores.max": "2", "spark.executor.cores": "1"}
        settings |= {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
        settings["spark.executorEnv.TILTYARD_CACHE_DIR"] = os.environ["TILTYARD_CACHE_DIR"]
        spark = open_session(app_name="deployment", master=deployment, conf=settings)
        spark.sparkContext.setLogLevel("OFF")
    df = spark.read.parquet(source).repartition(4)
    predict = tiltyard.spark_udf(spark, model_uri, registry_url=registry_url)
    scored = score(df, model_uri, keep=["key"], lineage=True, registry_url=registry_url)
    os.kill(kill_pid, signal.SIGKILL)
    by_score = scored.toPandas().sort_values("key")
    by_udf = df.select("key", predict().alias("p")).toPandas().sort_values("key")
    spark.udf.register("by_spark", predict)
    predict.register("by_itself")
    df.createOrReplaceTempView("rows")
    names = ", ".join(f"`{name}`" for name in predict.inputs.names) if predict.inputs else ""
    # One after the other: in one query each would need Python workers of its own, which import everything anew.
    by_sql = [
        spark.sql(f"select key, {name}({names}) as p from rows").toPandas().sort_values("key")["p"].tolist()
        for name in ("by_spark", "by_itself")
    ]
    started = time.monotonic()
    hosts = check_environment(spark, predict, on_mismatch="error")
    packed_answers, prefixes, after_crash = [], [], []
    if deployment.startswith("local-cluster"):
        target, mark = f"{source}.scored", f"{source}.crashed"
        crashing = df.repartition(8).mapInArrow(crashing_once(mark), df.schema)
        apply(crashing, predict, keep=["key"]).write.parquet(target)
        assert Path(mark).exists()
        after_crash = spark.read.parquet(target).toPandas().sort_values("key")["prediction"].tolist()
        # Last, for whichever executor starts after it unpacks the archive.
        packed = tiltyard.spark_udf(spark, str(predict.parcel.unpack()), env="packed")
        in_archive = apply(df, packed, keep=["key"]).toPandas().sort_values("key")
        packed_answers = in_archive["prediction"].tolist()
        prefixes = [host.prefix for host in check_environment(spark, packed, on_mismatch="error")]
    print(
        "RESULT",
        json.dumps(
            {
                "score": by_score["prediction"].tolist(),
                "udf": by_udf["p"].tolist(),
                "sql": by_sql,
                "packed": packed_answers,
                "prefixes": prefixes,
                "after_crash": after_crash,
                "versions": sorted(set(by_score["model_version"].tolist())),
                "executors": len({(host.host, host.executor) for host in hosts}),
                "probe_s": time.monotonic() - started,
            }
        ),
    )
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
