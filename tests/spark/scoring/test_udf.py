"""`spark_udf` and `score` on real Spark: what they predict, with which version, and when they refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.errors import PySparkException

import tiltyard
from tests.fixtures.services import Service
from tests.spark.conftest import NUMBERS, register
from tiltyard.errors import InvalidParameterValue, ModelIntegrityError, ResourceDoesNotExist
from tiltyard.spark import score

CHAMPION = f"models:/{NUMBERS}@champion"


@pytest.fixture(scope="module")
def flowers_df(spark: Any, flowers: pd.DataFrame) -> Any:
    return spark.createDataFrame(flowers).repartition(3).cache()


@pytest.fixture(scope="module")
def expected(registry_url: str, flowers: pd.DataFrame) -> "pd.Series[Any]":
    """What the champion says in process, by the value of the first column."""
    model = tiltyard.load_model(CHAMPION, registry_url=registry_url)
    return pd.Series(model.predict(flowers), index=flowers["a b"])


def columns_of(frame: pd.DataFrame) -> list[Any]:
    from pyspark.sql import functions

    return [functions.col(f"`{name}`") for name in frame.columns]


def test_every_form_of_argument_gives_the_answers_of_the_model(spark, registry_url, flowers, flowers_df, expected):
    """A struct, columns by position and no argument at all give what the model predicts in process."""
    from pyspark.sql import functions

    predict = tiltyard.spark_udf(spark, CHAMPION, registry_url=registry_url)
    columns = columns_of(flowers)
    scored = flowers_df.select(
        columns[0].alias("key"),
        predict(functions.struct(*reversed(columns))).alias("by_struct"),
        predict(*columns).alias("by_position"),
        predict().alias("by_name"),
    ).toPandas()
    for form in ("by_struct", "by_position", "by_name"):
        assert (scored[form].to_numpy() == expected.loc[scored["key"]].to_numpy()).all(), form


@pytest.mark.parametrize(
    ("result_type", "check"),
    [
        ("long", lambda label, value: value == label),
        ("int", lambda label, value: value == label),
        ("double", lambda label, value: value == float(label)),
        ("string", lambda label, value: value == str(label)),
        ("array<double>", lambda label, value: value == [float(label)]),
    ],
)
def test_result_types(spark, registry_url, flowers_df, expected, result_type, check):
    """Predictions come in the type that was asked for."""
    predict = tiltyard.spark_udf(spark, CHAMPION, result_type, registry_url=registry_url)
    for row in flowers_df.select("*", predict().alias("p")).take(5):
        assert check(expected.loc[row["a b"]], row["p"])


def test_the_default_result_type_is_a_scalar(spark, registry_url):
    """A flat integer tensor comes back as bigint, one number a row."""
    predict = tiltyard.spark_udf(spark, CHAMPION, registry_url=registry_url)
    assert predict.result_type.simpleString() == "bigint"


def test_the_version_is_fixed_when_the_function_is_made(spark, registry_url, flowers, flowers_df):
    """Moving the alias later changes nothing for a function that exists; a new one follows it."""
    from sklearn.dummy import DummyClassifier

    name = "main.batch.moved"
    label = (flowers.sum(axis=1) > 0).astype(int)
    register(DummyClassifier(strategy="constant", constant=0).fit(flowers, label), name, flowers, registry_url)
    before = tiltyard.spark_udf(spark, f"models:/{name}@champion", registry_url=registry_url)
    register(DummyClassifier(strategy="constant", constant=1).fit(flowers, label), name, flowers, registry_url)
    after = tiltyard.spark_udf(spark, f"models:/{name}@champion", registry_url=registry_url)
    assert (before.model_uri, after.model_uri) == (f"models:/{name}/1", f"models:/{name}/2")
    scored = flowers_df.select(before().alias("before"), after().alias("after")).distinct().toPandas()
    assert scored.to_dict("records") == [{"before": 0, "after": 1}]


def test_no_executor_asks_the_registry(spark, registry, flowers, flowers_df):
    """A function made before the registry died scores without it."""
    from sklearn.linear_model import LogisticRegression

    service = registry()
    label = (flowers.sum(axis=1) > 0).astype(int)
    register(LogisticRegression().fit(flowers, label), "orphan", flowers, service.url)
    predict = tiltyard.spark_udf(spark, "models:/orphan@champion", registry_url=service.url)
    service.kill()
    assert flowers_df.select(predict().alias("p")).where("p is not null").count() == len(flowers)


def test_a_large_model_is_fetched_by_its_exact_version(spark, registry_url, cache_dir, flowers_df, monkeypatch):
    """A model over the carrying limit is read from the verified cache of the host, and predicts the same."""
    import tiltyard.spark.scoring.udf as room

    monkeypatch.setattr(room, "MAX_CARRIED_BYTES", 0)
    predict = tiltyard.spark_udf(spark, CHAMPION, registry_url=registry_url)
    assert predict.parcel.files is None
    assert flowers_df.select(predict().alias("p")).where("p in (0, 1)").count() == 1000
    assert [path.name for path in (cache_dir / "models").iterdir()].count(predict.digest.removeprefix("sha256:")) == 1


def test_a_flipped_byte_is_refused_before_the_job(spark, registry, tmp_path: Path, flowers):
    """A stored model that was changed on disk is never loaded, not even on the driver."""
    from sklearn.linear_model import LogisticRegression

    service: Service = registry("--data-dir", str(tmp_path / "data"))
    label = (flowers.sum(axis=1) > 0.5).astype(int)
    register(LogisticRegression(C=0.3).fit(flowers, label), "flipped", flowers, service.url)
    (stored,) = (tmp_path / "data").rglob("model.skops")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    with pytest.raises(ModelIntegrityError, match=r"model\.skops"):
        tiltyard.spark_udf(spark, "models:/flipped@champion", registry_url=service.url)


def test_score_refuses_before_the_job_when_columns_are_missing(spark, registry_url, flowers_df):
    """Missing columns, a taken output column and an unknown alias are errors of the driver, naming both sides."""
    with pytest.raises(InvalidParameterValue, match=r"lacks columns .*'d'"):
        score(flowers_df.drop("d"), CHAMPION, registry_url=registry_url)
    with pytest.raises(InvalidParameterValue, match=r"column 'd' is date, the model takes double"):
        score(flowers_df.selectExpr("`a b`", "b", "c", "date'2026-01-01' as d"), CHAMPION, registry_url=registry_url)
    with pytest.raises(InvalidParameterValue, match=r"lacks: \['nothing'\]"):
        score(flowers_df, CHAMPION, keep=["nothing"], registry_url=registry_url)
    with pytest.raises(InvalidParameterValue, match="'b' already"):
        score(flowers_df, CHAMPION, output_col="b", registry_url=registry_url)
    with pytest.raises((ResourceDoesNotExist, InvalidParameterValue), match="nobody"):
        score(flowers_df, f"models:/{NUMBERS}@nobody", registry_url=registry_url)


@pytest.mark.parametrize("result_type", ["date", "map<int,string>", "no such type", "array<timestamp>"])
def test_an_impossible_result_type_is_refused_at_once(spark, registry_url, result_type):
    """A type that predictions cannot have is refused when the function is made."""
    with pytest.raises(InvalidParameterValue, match="result type"):
        tiltyard.spark_udf(spark, CHAMPION, result_type, registry_url=registry_url)


def test_sql_knows_a_function_that_was_registered(spark, registry_url, flowers, flowers_df, expected):
    """By Spark's own registration, and by the function's, with columns or a struct, also as not deterministic."""
    predict = tiltyard.spark_udf(spark, CHAMPION, registry_url=registry_url)
    names = ", ".join(f"`{name}`" for name in flowers.columns)
    flowers_df.createOrReplaceTempView("flowers")
    spark.udf.register("by_spark", predict)
    predict.register("by_itself")
    spark.udf.register("as_random", predict.asNondeterministic())
    calls = f"by_spark({names}) as a, by_itself(struct({names})) as b, as_random({names}) as c"
    rows = spark.sql(f"select `a b` as key, {calls} from flowers").toPandas()
    for name in ("a", "b", "c"):
        assert (rows[name].to_numpy() == expected.loc[rows["key"]].to_numpy()).all(), name
    both = tiltyard.spark_udf(spark, CHAMPION, errors="column", registry_url=registry_url)
    both.register("with_reason")
    row = spark.sql(f"select with_reason({names}) as p from flowers").first()
    assert row["p"].error is None and row["p"].value in (0, 1)


def test_a_packed_function_is_registered_by_itself_alone(spark, registry_url):
    """Spark's own registration would run it in another environment, so it is refused with what to do instead."""
    from tiltyard.spark.scoring.scoring_function import ScoringFunction

    made = tiltyard.spark_udf(spark, CHAMPION, registry_url=registry_url)
    packed = ScoringFunction(spark, made.scorer, made.inputs, (), "./env/bin/python")
    with pytest.raises(InvalidParameterValue, match=r"function\.register\(name\)"):
        spark.udf.register("packed", packed)


def test_score_finds_columns_in_any_case_and_overwrites_none(spark, registry_url, flowers, flowers_df, expected):
    """As in Spark: `B` is the model's `b`; a column that is there in another case is not replaced by the output."""
    loud = flowers_df.toDF(*(name.upper() for name in flowers.columns))
    scored = score(loud, CHAMPION, keep=["a b", "C"], registry_url=registry_url)
    assert scored.columns == ["A B", "C", "prediction"]
    rows = scored.toPandas()
    assert (rows["prediction"].to_numpy() == expected.loc[rows["A B"]].to_numpy()).all()
    by_struct = tiltyard.spark_udf(spark, CHAMPION, registry_url=registry_url)
    from pyspark.sql import functions

    struct = functions.struct(*(functions.col(f"`{name}`") for name in loud.columns))
    assert loud.select(by_struct(struct).alias("p")).where("p is not null").count() == len(flowers)
    with pytest.raises(InvalidParameterValue, match="'B' already"):
        score(flowers_df, CHAMPION, output_col="B", registry_url=registry_url)
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        with pytest.raises(InvalidParameterValue, match="lacks columns"):
            score(loud, CHAMPION, registry_url=registry_url)
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


def test_a_model_of_a_bare_array_scores_columns_named_by_numbers(spark, tmp_path: Path):
    """Its signature has the integers 0, 1, 2; Spark's columns are texts: by name, in a struct, in `score`."""
    from pyspark.sql import functions
    from sklearn.linear_model import Ridge

    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(20, 3)))
    model = Ridge().fit(frame, frame[0] * 2 - frame[2])
    tiltyard.save_model(model, tmp_path / "m", signature=tiltyard.infer_signature(frame, model.predict(frame)))
    df = spark.createDataFrame(frame.rename(columns=str)).coalesce(1)
    predict = tiltyard.spark_udf(spark, str(tmp_path / "m"))
    reversed_struct = functions.struct(*(functions.col(f"`{name}`") for name in ("2", "1", "0")))
    rows = score(df, str(tmp_path / "m")).select(
        "prediction", predict().alias("a"), predict(reversed_struct).alias("b")
    )
    for column in rows.toPandas().to_numpy().T:
        # Sums over another layout of the memory may round otherwise.
        np.testing.assert_allclose(column, model.predict(frame), rtol=1e-12)


def test_lineage_columns_name_the_version(spark, registry_url, flowers_df):
    """With lineage, every row says which model, version and digest scored it."""
    scored = score(flowers_df, CHAMPION, keep=["b", "a b"], lineage=True, registry_url=registry_url)
    lineage = ["model_name", "model_version", "model_digest", "model_run_id"]
    assert scored.columns == ["b", "a b", "prediction", *lineage]
    (row,) = scored.select(*lineage).distinct().collect()
    assert (row["model_name"], row["model_version"], row["model_run_id"]) == (NUMBERS, 1, None)
    assert row["model_digest"].startswith("sha256:")


def test_a_model_is_loaded_once_per_python_worker(spark, registry_url, flowers, tmp_path: Path):
    """Sixteen partitions on two Python workers load the model at most twice."""
    from tests.spark.scoring.counting import CountingModel

    tiltyard.save_model(CountingModel(str(tmp_path / "loads")), tmp_path / "model", input_example=flowers.head(2))
    loads_before = len(list(tmp_path.glob("loads*")))
    predict = tiltyard.spark_udf(spark, str(tmp_path / "model"), "double")
    on_driver = len(list(tmp_path.glob("loads*"))) - loads_before
    df = spark.createDataFrame(flowers).repartition(16)
    assert df.select(predict().alias("p")).where("p = 1").count() == len(flowers)
    assert len(list(tmp_path.glob("loads*"))) - loads_before - on_driver <= 2


def test_arguments_of_the_reference_are_accepted_or_refused_by_name(spark, registry_url):
    """The order of arguments is that of `mlflow.pyfunc.spark_udf`; what cannot be done says so at once."""
    predict = tiltyard.spark_udf(spark, CHAMPION, "double", "local", None, registry_url=registry_url)
    assert (predict.result_type.simpleString(), predict.model_uri) == ("double", f"models:/{NUMBERS}/1")
    for options in ({"env_manager": "conda"}, {"env": "conda"}, {"extra_env": {"A": "1"}}, {"errors": "skip"}):
        with pytest.raises(InvalidParameterValue, match=f"'{next(iter(options))}'"):
            tiltyard.spark_udf(spark, CHAMPION, registry_url=registry_url, **options)


def test_a_bad_row_fails_the_job_or_is_null_or_says_why(spark, registry_url, flowers, expected):
    """Under each policy the good rows keep their predictions; the model runs once per row, not once per column."""
    keyed = flowers.assign(key=np.arange(len(flowers)))
    keyed.loc[keyed.index % 100 == 7, "c"] = np.nan
    good = keyed["c"].notna().to_numpy()
    df = spark.createDataFrame(keyed).repartition(3)
    with pytest.raises(PySparkException, match="contains NaN"):
        score(df, CHAMPION, registry_url=registry_url).collect()
    nulls = score(df, CHAMPION, keep=["key"], errors="null", registry_url=registry_url)
    both = score(df, CHAMPION, keep=["key"], errors="column", registry_url=registry_url)
    assert both.columns == ["key", "prediction", "prediction_error"]
    # With many columns kept, the predictions come beside the rows; with few, the rows go through Python.
    beside = score(df, CHAMPION, errors="column", registry_url=registry_url)
    for table, operator in ((both, "MapInArrow"), (beside, "ArrowEvalPython")):
        plan = table._jdf.queryExecution().executedPlan().toString()
        assert plan.count(f"{operator} [") + plan.count(f"{operator} predict") == 1, plan
    for scored in (table.toPandas().sort_values("key") for table in (nulls, beside, both)):
        assert scored["prediction"].notna().to_numpy().tolist() == good.tolist()
        assert scored["prediction"].to_numpy()[good].tolist() == expected.to_numpy()[good].tolist()
    reasons = scored["prediction_error"].to_numpy()
    assert all(reason is None for reason in reasons[good])
    assert all("Input X contains NaN" in reason for reason in reasons[~good])


def test_few_rows_a_batch_give_the_same_predictions(spark, registry_url, flowers_df, expected):
    """Batches of seven rows are joined on their way to the model, and every row gets its own answer back."""
    setting = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(setting)
    spark.conf.set(setting, "7")
    try:
        scored = score(flowers_df, CHAMPION, registry_url=registry_url).toPandas()
    finally:
        spark.conf.set(setting, before)
    assert (scored["prediction"].to_numpy() == expected.loc[scored["a b"]].to_numpy()).all()


def test_a_streaming_query_scores_with_the_version_of_its_start(spark, registry_url, flowers, expected, tmp_path: Path):
    """The same function works on a stream, and every row of it has the model's answer."""
    flowers.to_parquet(tmp_path / "in.parquet")
    (tmp_path / "source").mkdir()
    (tmp_path / "in.parquet").rename(tmp_path / "source" / "part.parquet")
    schema = spark.createDataFrame(flowers.head(1)).schema
    stream = spark.readStream.schema(schema).parquet(str(tmp_path / "source"))
    query = (
        score(stream, CHAMPION, registry_url=registry_url)
        .writeStream.format("parquet")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start(str(tmp_path / "scored"))
    )
    assert query.awaitTermination(60)
    scored = spark.read.parquet(str(tmp_path / "scored")).toPandas()
    assert len(scored) == len(flowers)
    assert (scored["prediction"].to_numpy() == expected.loc[scored["a b"]].to_numpy()).all()
