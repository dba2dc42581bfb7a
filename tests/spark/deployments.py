"""A script for a Spark of its own: scores a table both ways and prints what came out as JSON.

    python deployments.py DEPLOYMENT MODEL_URI REGISTRY_URL INPUT KILL_PID

DEPLOYMENT is a master, or 'connect'. KILL_PID is the registry's process: it is killed once the driver has resolved.
"""

import json
import os
import signal
import sys
import time

import tiltyard
from tiltyard.spark import check_environment, score
from tiltyard.spark.session import open_session


def main(deployment: str, model_uri: str, registry_url: str, source: str, kill_pid: int) -> None:
    if deployment == "connect":
        from pyspark.sql import SparkSession

        from tiltyard.spark.java import java_home

        os.environ["JAVA_HOME"] = str(java_home())
        os.environ["PYSPARK_PYTHON"] = sys.executable
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
    started = time.monotonic()
    hosts = check_environment(spark, predict, on_mismatch="error")
    print(
        "RESULT",
        json.dumps(
            {
                "score": by_score["prediction"].tolist(),
                "udf": by_udf["p"].tolist(),
                "versions": sorted(set(by_score["model_version"].tolist())),
                "executors": len({(host.host, host.executor) for host in hosts}),
                "probe_s": time.monotonic() - started,
            }
        ),
    )
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
