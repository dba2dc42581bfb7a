"""Experiments, runs and what is logged to them, driven by the stock client."""

import math
import time
from types import ModuleType
from typing import Any

import pytest


def test_set_experiment_creates_once(mlflow: ModuleType, client: Any, unique: str) -> None:
    """`set_experiment` creates what is missing, finds what is there, and refuses what is deleted."""
    created = mlflow.set_experiment(unique)
    assert created.artifact_location == f"mlflow-artifacts:/{created.experiment_id}"
    assert mlflow.set_experiment(unique).experiment_id == created.experiment_id
    client.delete_experiment(created.experiment_id)
    with pytest.raises(mlflow.MlflowException, match="Cannot set a deleted experiment"):
        mlflow.set_experiment(unique)
    client.restore_experiment(created.experiment_id)
    assert mlflow.set_experiment(unique).lifecycle_stage == "active"


def test_experiments_are_created_renamed_and_tagged(mlflow: ModuleType, client: Any, unique: str) -> None:
    """Name, location and tags come back; the name is taken once."""
    experiment_id = client.create_experiment(unique, artifact_location="s3://bucket/path", tags={"a": "1"})
    client.set_experiment_tag(experiment_id, "b", "2")
    client.rename_experiment(experiment_id, f"{unique}-renamed")
    found = client.get_experiment(experiment_id)
    assert (found.name, found.artifact_location) == (f"{unique}-renamed", "s3://bucket/path")
    assert found.tags == {"a": "1", "b": "2"}
    client.delete_experiment_tag(experiment_id, "a")
    assert client.get_experiment(experiment_id).tags == {"b": "2"}
    with pytest.raises(mlflow.MlflowException) as taken:
        client.create_experiment(f"{unique}-renamed")
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_search_experiments(client: Any, unique: str) -> None:
    """Filters, order, view and pages of experiments."""
    ids = [client.create_experiment(f"{unique}-{index}", tags={"team": unique}) for index in range(5)]
    client.delete_experiment(ids[4])
    by_tag = f"tags.team = '{unique}'"
    names = [found.name for found in client.search_experiments(filter_string=by_tag, order_by=["name DESC"])]
    assert names == [f"{unique}-{index}" for index in (3, 2, 1, 0)]
    from mlflow.entities import ViewType

    assert len(client.search_experiments(ViewType.ALL, filter_string=by_tag)) == 5
    deleted = client.search_experiments(ViewType.DELETED_ONLY, filter_string=by_tag)
    assert [found.experiment_id for found in deleted] == [ids[4]]
    seen, token = [], None
    while True:
        page = client.search_experiments(
            filter_string=f"name LIKE '{unique}%'", max_results=3, order_by=["name"], page_token=token
        )
        seen += [found.experiment_id for found in page]
        token = page.token
        if not token:
            break
    assert seen == ids[:4]


def test_a_run_from_start_to_end(mlflow: ModuleType, experiment: Any) -> None:
    """What is logged in a run is there when it has ended, with the client's own tags."""
    with mlflow.start_run(run_name="first", description="about", tags={"t": "1"}) as run:
        mlflow.log_param("alpha", 0.5)
        mlflow.log_params({"depth": 3, "name": "é", "empty": ""})
        mlflow.log_metric("loss", 1.5, step=1)
        mlflow.log_metrics({"loss": 0.5, "acc": 0.9}, step=2)
        mlflow.set_tags({"u": "2", "long": "x" * 9000})
        assert mlflow.get_run(run.info.run_id).info.status == "RUNNING"
    found = mlflow.get_run(run.info.run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "first")
    assert found.info.end_time >= found.info.start_time > 0
    assert found.info.artifact_uri == f"{experiment.artifact_location}/{run.info.run_id}/artifacts"
    assert found.data.params == {"alpha": "0.5", "depth": "3", "name": "é", "empty": ""}
    assert found.data.metrics == {"loss": 0.5, "acc": 0.9}
    assert found.data.tags["mlflow.note.content"] == "about"
    assert found.data.tags["mlflow.runName"] == "first"
    assert (found.data.tags["t"], found.data.tags["u"], len(found.data.tags["long"])) == ("1", "2", 8000)


def test_nested_runs_and_failures(mlflow: ModuleType, experiment: Any) -> None:
    """A nested run names its parent; a run left by an exception has failed."""
    with pytest.raises(RuntimeError), mlflow.start_run() as parent:
        with mlflow.start_run(nested=True) as child:
            pass
        raise RuntimeError
    assert mlflow.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert mlflow.get_run(parent.info.run_id).info.status == "FAILED"
    assert mlflow.get_parent_run(child.info.run_id).info.run_id == parent.info.run_id


def test_a_run_is_resumed(mlflow: ModuleType, experiment: Any) -> None:
    """An ended run can be started again; it is RUNNING until it ends again."""
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    with mlflow.start_run(run_id=run.info.run_id):
        assert mlflow.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("m", 2, step=1)
    assert mlflow.get_run(run.info.run_id).data.metrics == {"m": 2.0}


def test_values_that_json_lacks_survive(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """NaN and both infinities come back as themselves, in the run and in the history."""
    with mlflow.start_run() as run:
        mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "minus": -math.inf, "third": 1 / 3})
        mlflow.log_metric("single", -math.inf)
    metrics = mlflow.get_run(run.info.run_id).data.metrics
    assert math.isnan(metrics.pop("nan"))
    assert metrics == {"inf": math.inf, "minus": -math.inf, "third": 1 / 3, "single": -math.inf}
    (point,) = client.get_metric_history(run.info.run_id, "inf")
    assert point.value == math.inf


def test_params_never_change(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """The same value again is fine, another is refused in upstream's words, alone and in a batch."""
    from mlflow.entities import Metric, Param

    run_id = client.create_run(experiment.experiment_id).info.run_id
    for _ in range(2):
        client.log_param(run_id, "alpha", 0.5)
    expected = (
        r"Changing param values is not allowed. Param with key='alpha' was already logged with value='0.5' for run "
        f"ID='{run_id}'. Attempted logging new value '0.6'."
    )
    with pytest.raises(mlflow.MlflowException, match=expected):
        client.log_param(run_id, "alpha", 0.6)
    with pytest.raises(mlflow.MlflowException, match="Params were already logged="):
        client.log_batch(run_id, params=[Param("alpha", "0.6")], metrics=[Metric("m", 1.0, 0, 0)])
    assert client.get_run(run_id).data.metrics == {}


def test_a_large_log_is_split_by_the_client(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """250 params and 1,500 metrics go through, in as many batches as the client makes."""
    with mlflow.start_run() as run:
        mlflow.log_params({f"p{index}": index for index in range(250)})
        mlflow.log_metrics({f"m{index}": index for index in range(1500)})
    data = mlflow.get_run(run.info.run_id).data
    assert (len(data.params), len(data.metrics)) == (250, 1500)


def test_metric_history_in_order_and_in_pages(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """The history is ordered by time, then step; pages neither overlap nor leave gaps; duplicates are one."""
    from mlflow.entities import Metric

    run_id = client.create_run(experiment.experiment_id).info.run_id
    points = [Metric("m", float(index % 7), 1000 + index // 3, index % 5) for index in range(60)]
    for _ in range(2):
        client.log_batch(run_id, metrics=points[::-1])
    expected = sorted({(point.timestamp, point.step, point.value) for point in points})
    history = client.get_metric_history(run_id, "m")
    assert [(point.timestamp, point.step, point.value) for point in history] == expected
    store = client._tracking_client.store
    seen, token = [], None
    while True:
        page = store.get_metric_history(run_id, "m", max_results=7, page_token=token)
        assert len(page) <= 7
        seen += [(point.timestamp, point.step, point.value) for point in page]
        token = page.token
        if not token:
            break
    assert seen == expected
    assert client.get_metric_history(run_id, "never") == []
    latest = max(points, key=lambda point: (point.step, point.timestamp, point.value))
    assert client.get_run(run_id).data.metrics == {"m": latest.value}


def test_asynchronous_logging(mlflow: ModuleType, experiment: Any) -> None:
    """What is logged in the background is there once it was waited for."""
    with mlflow.start_run() as run:
        waits = [mlflow.log_metric("m", float(step), step=step, synchronous=False) for step in range(50)]
        waits.append(mlflow.log_params({"a": 1, "b": 2}, synchronous=False))
        for operation in waits:
            operation.wait()
    found = mlflow.get_run(run.info.run_id)
    assert found.data.metrics == {"m": 49.0}
    assert found.data.params == {"a": "1", "b": "2"}


def test_deleted_runs_are_readable_and_refuse_writes(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """Deletion hides a run from searches and stops writes; restoring brings it back."""
    run_id = client.create_run(experiment.experiment_id).info.run_id
    client.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert client.search_runs([experiment.experiment_id]) == []
    with pytest.raises(mlflow.MlflowException, match=r"must be in the 'active' state\. Current state is deleted"):
        client.log_metric(run_id, "m", 1)
    client.restore_run(run_id)
    client.log_metric(run_id, "m", 1)
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_run_tags_and_names(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """The name is the tag and the tag the name; an absent tag cannot be deleted."""
    run_id = client.create_run(experiment.experiment_id).info.run_id
    client.update_run(run_id, name="renamed", status="KILLED")
    assert client.get_run(run_id).data.tags["mlflow.runName"] == "renamed"
    client.set_tag(run_id, "mlflow.runName", "by tag")
    found = client.get_run(run_id)
    assert (found.info.run_name, found.info.status) == ("by tag", "KILLED")
    client.set_tag(run_id, "t", "v")
    client.delete_tag(run_id, "t")
    with pytest.raises(mlflow.MlflowException) as absent:
        client.delete_tag(run_id, "t")
    assert absent.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_datasets_are_inputs_of_runs(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """A logged dataset comes back with its context, and once however often it was logged."""
    import numpy as np

    dataset = mlflow.data.from_numpy(np.arange(12.0).reshape(4, 3), name="numbers")
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="training")
        mlflow.log_input(dataset, context="training")
        mlflow.log_metric("score", 0.5, dataset=dataset)
    (used,) = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("numbers", dataset.digest)
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}
    by_dataset = mlflow.search_runs(filter_string="dataset.name = 'numbers' AND dataset.context = 'training'")
    assert list(by_dataset.run_id) == [run.info.run_id]


def test_search_runs(mlflow: ModuleType, client: Any, experiment: Any) -> None:
    """Filters over metrics, params, tags and attributes; order, pages, and the DataFrame."""
    for index in range(6):
        with mlflow.start_run(run_name=f"run-{index}", tags={"parity": "even" if index % 2 == 0 else "odd"}):
            mlflow.log_params({"depth": index, "my param": "x"})
            if index:
                mlflow.log_metric("val/loss x", index / 10)
    ids = [experiment.experiment_id]

    def names(filter_string: str = "", **options: Any) -> list[str]:
        return [run.info.run_name for run in client.search_runs(ids, filter_string, **options)]

    assert names("metrics.`val/loss x` > 0.25 AND params.depth != '5'", order_by=["attributes.run_name"]) == [
        "run-3",
        "run-4",
    ]
    assert names("tags.parity = 'odd'", order_by=["metrics.`val/loss x` DESC"]) == ["run-5", "run-3", "run-1"]
    assert (
        names("run_name LIKE 'run-_' AND attributes.status = 'FINISHED'", order_by=["params.depth ASC"])[0] == "run-0"
    )
    assert names(order_by=["metrics.`val/loss x` ASC"])[-1] == "run-0"
    assert names() == [f"run-{index}" for index in (5, 4, 3, 2, 1, 0)]
    frame = mlflow.search_runs(experiment_names=[experiment.name], filter_string="params.`my param` = 'x'")
    assert len(frame) == 6
    assert set(frame["params.depth"]) == {str(index) for index in range(6)}
    assert frame["metrics.val/loss x"].isna().sum() == 1
    seen, token = [], None
    while True:
        page = client.search_runs(ids, max_results=4, order_by=["params.depth"], page_token=token)
        seen += [run.info.run_name for run in page]
        token = page.token
        if not token:
            break
    assert seen == [f"run-{index}" for index in range(6)]


@pytest.mark.parametrize(
    ("filter_string", "message"),
    [
        ("attribute.foo = 'x'", "Invalid attribute key 'foo'"),
        ("foos.k = 'x'", "Invalid entity type"),
        ("metrics.a = 'text'", "Expected numeric value type for metric"),
        ("   ", "Could not be parsed"),
        ("attributes.status = 1", "Expected a quoted string value"),
        ("params.a == 'x'", "Invalid clause"),
        ("a; b", "Invalid clause"),
    ],
)
def test_bad_filters_are_refused(
    mlflow: ModuleType, client: Any, experiment: Any, filter_string: str, message: str
) -> None:
    """A filter that cannot be read is the caller's mistake, and the answer says what is wrong."""
    with pytest.raises(mlflow.MlflowException, match=message) as refused:
        client.search_runs([experiment.experiment_id], filter_string)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_artifacts_of_a_run(mlflow: ModuleType, client: Any, experiment: Any, tmp_path: Any) -> None:
    """Files, texts, dictionaries, tables and empty files are stored, listed and read back."""
    (tmp_path / "file.txt").write_text("hello")
    (tmp_path / "empty").write_text("")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "file.txt"), "sub dir")
        mlflow.log_artifact(str(tmp_path / "empty"))
        mlflow.log_text("täxt", "text.txt")
        mlflow.log_dict({"a": [1]}, "sub dir/data.json")
        for _ in range(2):
            mlflow.log_table({"x": [1, 2]}, "table.json")
    run_id = run.info.run_id
    assert [item.path for item in client.list_artifacts(run_id)] == ["empty", "sub dir", "table.json", "text.txt"]
    assert {item.path: item.file_size for item in client.list_artifacts(run_id, "sub dir")} == {
        "sub dir/data.json": len('{\n  "a": [\n    1\n  ]\n}'),
        "sub dir/file.txt": 5,
    }
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/text.txt") == "täxt"
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/sub dir/data.json") == {"a": [1]}
    assert len(mlflow.load_table("table.json", run_ids=[run_id])) == 4
    with open(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/empty"), "rb") as file:
        assert file.read() == b""
    folder = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="sub dir")
    assert (tmp_path.__class__(folder) / "file.txt").read_text() == "hello"


def test_start_time_is_kept(client: Any, experiment: Any) -> None:
    """A run may have begun earlier than it was logged."""
    past_ms = int(time.time() * 1000) - 86_400_000
    run = client.create_run(experiment.experiment_id, start_time=past_ms)
    client.set_terminated(run.info.run_id, end_time=past_ms + 5)
    found = client.get_run(run.info.run_id).info
    assert (found.start_time, found.end_time) == (past_ms, past_ms + 5)
