"""Models that bring Python files score with their own, also in a Python worker that served another version before."""

import json
from pathlib import Path

import tiltyard

LOADER = """
import early
class Model:
    def predict(self, data):
        import late
        return [early.VALUE * 10 + late.VALUE] * len(data)
def _load_pyfunc(path):
    return Model()
"""


def write(path: Path, version: int) -> str:
    """A model whose modules have the names that every version's have."""
    (path / "code").mkdir(parents=True)
    (path / "code" / "loader.py").write_text(LOADER)
    for name in ("early", "late"):
        (path / "code" / f"{name}.py").write_text(f"VALUE = {version}\n")
    (path / "MLmodel").write_text(
        json.dumps({"flavors": {"python_function": {"loader_module": "loader", "code": "code"}}})
    )
    return str(path)


def test_a_reused_worker_runs_each_versions_files(spark, tmp_path: Path):
    """Two versions in one job, and one of them again in the next: each answers with its own modules."""
    one, two = (tiltyard.spark_udf(spark, write(tmp_path / str(v), v), "long") for v in (1, 2))
    df = spark.range(4).repartition(1)
    both = df.select(one("id").alias("one"), two("id").alias("two")).distinct().collect()
    assert [tuple(row) for row in both] == [(11, 22)]
    assert [row[0] for row in df.select(one("id")).distinct().collect()] == [11]
