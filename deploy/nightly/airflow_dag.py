"""An Airflow DAG: scores each day's rows with one exact version of the champion.

The worker needs the distribution with its spark extra. The exit status says whether another try makes sense: 1 and 2
were refused before anything was started and would be refused again; 3 is a job that failed on its way.
"""

import subprocess
from datetime import datetime, timedelta

from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, task

FAILED_ON_ITS_WAY = 3


@dag(
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
)
def tiltyard_score():
    """One task a day; a day that is run again replaces its output."""

    @task
    def score(ds=None):
        command = [
            "tiltyard",
            "score",
            "--registry-url=http://registry:5000",
            "--model=models:/main.clinic.tumor@champion",
            f"--input=s3a://lake/patients/day={ds}",
            f"--output=s3a://lake/scored/day={ds}",
            "--mode=overwrite",
            "--errors=column",
            "--lineage",
            "--master=spark://spark-master:7077",
        ]
        done = subprocess.run(command, check=False)  # noqa: S603 - our own command, no shell
        if done.returncode == FAILED_ON_ITS_WAY:
            raise RuntimeError("The job failed; its output is as it was.")
        if done.returncode:
            raise AirflowFailException("The job was refused; another try would be, too.")

    score()


tiltyard_score()
