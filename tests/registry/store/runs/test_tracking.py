"""The tracking doors over both databases: experiments, runs, what is logged to them, logged models."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import func, select, update

from tiltyard.errors import BadRequest, InvalidParameterValue, ResourceAlreadyExists, ResourceDoesNotExist
from tiltyard.wire.mlflow.runs import MetricIn
from tiltyard_registry.rules.access import SYSTEM
from tiltyard_registry.rules.entries import Entry
from tiltyard_registry.rules.metrics import Point
from tiltyard_registry.store.experiments import experiments, logged_models
from tiltyard_registry.store.runs import inputs, log_batch, runs
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Row
from tiltyard_registry.tables.runs import metrics as metric_rows
from tiltyard_registry.tables.runs import run_tags
from tiltyard_registry.tables.runs import runs as runs_table


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def run_id(database: Database) -> str:
    return await _start(database)


async def _start(database: Database, **options: object) -> str:
    async with database.write() as session:
        return (await runs.create_run(session, SYSTEM, "0", **options))["info"]["run_id"]


async def _log(database: Database, run_id: str, **entries: object) -> None:
    async with database.write() as session:
        await log_batch.log_batch(session, SYSTEM, run_id, **entries)


async def _run(database: Database, run_id: str) -> Row:
    async with database.read() as session:
        return await runs.get_run(session, SYSTEM, run_id)


def _metrics(run: Row) -> dict[str, object]:
    return {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}


def _pairs(entries: list[dict[str, str]]) -> dict[str, str]:
    return {entry["key"]: entry["value"] for entry in entries}


# --- experiments ------------------------------------------------------------------------------------------


async def test_an_experiment_keeps_its_artifacts_below_its_id(database: Database) -> None:
    """Without a location of its own an experiment's artifacts go through the registry, below its id."""
    async with database.write() as session:
        experiment_id = await experiments.create_experiment(session, SYSTEM, "iris", tags=[Entry("team", "a")])
    async with database.read() as session:
        row = await experiments.get_experiment_by_name(session, SYSTEM, "iris")
    assert row["experiment_id"] == experiment_id
    assert row["artifact_location"] == f"mlflow-artifacts:/{experiment_id}"
    assert row["lifecycle_stage"] == "active"
    assert row["tags"] == [{"key": "team", "value": "a"}]


async def test_the_default_experiment_exists(database: Database) -> None:
    """Experiment 0, named Default, is there from the start."""
    async with database.read() as session:
        row = await experiments.get_experiment(session, SYSTEM, "0")
    assert (row["name"], row["artifact_location"]) == ("Default", "mlflow-artifacts:/0")


async def test_runs_and_models_live_below_the_location_of_their_experiment(database: Database) -> None:
    """An experiment's own location is taken as it came, a query included."""
    async with database.write() as session:
        experiment_id = await experiments.create_experiment(
            session, SYSTEM, "elsewhere", artifact_location="s3://bucket/base/?region=x"
        )
        run = await runs.create_run(session, SYSTEM, experiment_id)
        model = await logged_models.create_logged_model(session, SYSTEM, experiment_id)
    run_id, model_id = run["info"]["run_id"], model["info"]["model_id"]
    assert run["info"]["artifact_uri"] == f"s3://bucket/base/{run_id}/artifacts?region=x"
    assert model["info"]["artifact_uri"] == f"s3://bucket/base/models/{model_id}/artifacts?region=x"


@pytest.mark.parametrize("stage", ["active", "deleted"])
async def test_an_experiment_name_is_taken_once(database: Database, stage: str) -> None:
    """A name is refused while an experiment has it, deleted or not, and the transaction goes on."""
    async with database.write() as session:
        experiment_id = await experiments.create_experiment(session, SYSTEM, "taken")
        if stage == "deleted":
            await experiments.delete_experiment(session, SYSTEM, experiment_id)
        with pytest.raises(ResourceAlreadyExists, match=r"Experiment\(name=taken\) already exists"):
            await experiments.create_experiment(session, SYSTEM, "taken")
        other = await experiments.create_experiment(session, SYSTEM, "free")
        with pytest.raises(ResourceAlreadyExists):
            await experiments.rename_experiment(session, SYSTEM, other, "taken")


async def test_deleting_an_experiment_deletes_its_runs_and_restoring_restores_them(database: Database) -> None:
    """Runs follow their experiment both ways, one deleted before keeps its time; a second delete finds nothing."""
    async with database.write() as session:
        experiment_id = await experiments.create_experiment(session, SYSTEM, "e")
        run_id = (await runs.create_run(session, SYSTEM, experiment_id))["info"]["run_id"]
        earlier = (await runs.create_run(session, SYSTEM, experiment_id))["info"]["run_id"]
        await runs.delete_run(session, SYSTEM, earlier)
        await session.execute(update(runs_table).where(runs_table.c.run_id == earlier).values(deleted_time=1))
        await experiments.delete_experiment(session, SYSTEM, experiment_id)
    assert (await _run(database, run_id))["info"]["lifecycle_stage"] == "deleted"
    async with database.write() as session:
        missing = f"No Experiment with id={experiment_id} exists"
        with pytest.raises(ResourceDoesNotExist, match=missing):
            await experiments.delete_experiment(session, SYSTEM, experiment_id)
        refused = f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted."
        with pytest.raises(InvalidParameterValue, match=refused):
            await runs.create_run(session, SYSTEM, experiment_id)
        with pytest.raises(InvalidParameterValue, match=refused):
            await experiments.set_experiment_tag(session, SYSTEM, experiment_id, "k", "v")
        with pytest.raises(InvalidParameterValue, match="Cannot rename a non-active experiment"):
            await experiments.rename_experiment(session, SYSTEM, experiment_id, "other")
        stamps = await session.execute(select(runs_table.c.run_id, runs_table.c.deleted_time))
        deleted = {row.run_id: row.deleted_time for row in stamps}
        assert deleted[earlier] == 1
        assert deleted[run_id] > 1
        await experiments.restore_experiment(session, SYSTEM, experiment_id)
        with pytest.raises(ResourceDoesNotExist, match=missing):
            await experiments.restore_experiment(session, SYSTEM, experiment_id)
    assert (await _run(database, run_id))["info"]["lifecycle_stage"] == "active"


async def test_experiment_tags_are_set_replaced_and_removed(database: Database) -> None:
    """A tag is overwritten by its key; removing one that is absent is a 404."""
    async with database.write() as session:
        for value in ("a", "b"):
            await experiments.set_experiment_tag(session, SYSTEM, "0", "k", value)
        assert (await experiments.get_experiment(session, SYSTEM, "0"))["tags"] == [{"key": "k", "value": "b"}]
        await experiments.delete_experiment_tag(session, SYSTEM, "0", "k")
        with pytest.raises(ResourceDoesNotExist, match="No tag with name: k in experiment with id 0"):
            await experiments.delete_experiment_tag(session, SYSTEM, "0", "k")


@pytest.mark.parametrize("experiment_id", ["-1", "999", "2147483648", "9" * 30, " 12 "])
async def test_an_absent_experiment_is_not_found(database: Database, experiment_id: str) -> None:
    """Any integer may be asked for, however large."""
    async with database.read() as session:
        with pytest.raises(ResourceDoesNotExist, match="No Experiment with id="):
            await experiments.get_experiment(session, SYSTEM, experiment_id)


# --- runs -------------------------------------------------------------------------------------------------


async def test_a_run_starts_running_with_an_invented_name(database: Database) -> None:
    """Without a name the server invents one, and name and name tag agree."""
    run = await _run(database, await _start(database, user_id="ann", start_time=17))
    info = run["info"]
    assert (info["status"], info["start_time"], info.get("end_time"), info["user_id"]) == ("RUNNING", 17, None, "ann")
    assert info["run_id"] == info["run_uuid"]
    assert info["artifact_uri"] == f"mlflow-artifacts:/0/{info['run_id']}/artifacts"
    assert len(info["run_name"].split("-")) == 3
    assert _pairs(run["data"]["tags"]) == {"mlflow.runName": info["run_name"]}


async def test_a_run_takes_its_name_from_argument_or_tag(database: Database) -> None:
    """Either spelling names the run; two different ones are refused."""
    by_tag = await _run(database, await _start(database, tags=[Entry("mlflow.runName", "tagged")]))
    assert by_tag["info"]["run_name"] == "tagged"
    by_name = await _run(database, await _start(database, run_name="named"))
    assert _pairs(by_name["data"]["tags"]) == {"mlflow.runName": "named"}
    with pytest.raises(InvalidParameterValue, match=r"Both 'run_name' argument and 'mlflow\.runName' tag"):
        await _start(database, run_name="a", tags=[Entry("mlflow.runName", "b")])


async def test_updating_a_run_changes_only_what_came(database: Database, run_id: str) -> None:
    """A status alone leaves the end time; a new name is the tag too, and the tag is the name too."""
    async with database.write() as session:
        await runs.update_run(session, SYSTEM, run_id, status="FINISHED", end_time=99)
        info = await runs.update_run(session, SYSTEM, run_id, status=1)
        assert (info["status"], info["end_time"]) == ("RUNNING", 99)
        await runs.update_run(session, SYSTEM, run_id, run_name="renamed")
    assert _pairs((await _run(database, run_id))["data"]["tags"]) == {"mlflow.runName": "renamed"}
    async with database.write() as session:
        await log_batch.set_tag(session, SYSTEM, run_id, "mlflow.runName", "by tag")
        await log_batch.set_tag(session, SYSTEM, run_id, "mlflow.runName", "")
    assert (await _run(database, run_id))["info"]["run_name"] == "by tag"
    async with database.write() as session:
        with pytest.raises(InvalidParameterValue, match="expected one of RUNNING"):
            await runs.update_run(session, SYSTEM, run_id, status="DONE")


async def test_a_deleted_run_is_readable_and_takes_no_writes(database: Database, run_id: str) -> None:
    """Delete and restore may be repeated; between them every write is refused."""
    async with database.write() as session:
        await runs.delete_run(session, SYSTEM, run_id)
        await runs.delete_run(session, SYSTEM, run_id)
    assert (await _run(database, run_id))["info"]["lifecycle_stage"] == "deleted"
    refused = f"The run {run_id} must be in the 'active' state. Current state is deleted."
    writes = (
        lambda s: runs.update_run(s, SYSTEM, run_id, status="FINISHED"),
        lambda s: log_batch.log_batch(s, SYSTEM, run_id),
        lambda s: log_batch.log_param(s, SYSTEM, run_id, "k", "v"),
        lambda s: log_batch.log_metric(s, SYSTEM, run_id, Point("k", 1.0, 0, 0, False)),
        lambda s: log_batch.set_tag(s, SYSTEM, run_id, "k", "v"),
        lambda s: log_batch.delete_tag(s, SYSTEM, run_id, "k"),
        lambda s: inputs.log_inputs(s, SYSTEM, run_id),
        lambda s: inputs.log_outputs(s, SYSTEM, run_id, []),
    )
    for write in writes:
        async with database.write() as session:
            with pytest.raises(InvalidParameterValue, match=refused):
                await write(session)
    async with database.write() as session:
        await runs.restore_run(session, SYSTEM, run_id)
        await runs.restore_run(session, SYSTEM, run_id)
        await log_batch.set_tag(session, SYSTEM, run_id, "k", "v")


async def test_a_missing_run_is_not_found(database: Database) -> None:
    """Every door says the same of a run that is not there."""
    async with database.write() as session:
        for door in (runs.get_run, runs.delete_run, runs.restore_run, runs.update_run, log_batch.log_batch):
            with pytest.raises(ResourceDoesNotExist, match="Run with id=nope not found"):
                await door(session, SYSTEM, "nope")


# --- log-batch --------------------------------------------------------------------------------------------


async def test_a_batch_is_stored_whole_and_may_be_repeated(database: Database, run_id: str) -> None:
    """Params, points and tags of one batch are all there, once, however often it is sent."""
    batch = {
        "metrics": [Point("loss", float(9 - step), step, step, False) for step in range(5)],
        "params": [Entry("depth", "3"), Entry("empty", "")],
        "tags": [Entry("t", "first"), Entry("t", "last")],
    }
    for _ in range(3):
        await _log(database, run_id, **batch)
    run = await _run(database, run_id)
    assert run["data"]["metrics"] == [{"key": "loss", "value": 5.0, "timestamp": 4, "step": 4}]
    assert _pairs(run["data"]["params"]) == {"depth": "3", "empty": ""}
    assert _pairs(run["data"]["tags"])["t"] == "last"
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(metric_rows)) == 5


async def test_a_batch_that_fails_leaves_nothing(database: Database, run_id: str) -> None:
    """A param that would change, at the end of the work or before, takes the whole batch back."""
    await _log(database, run_id, params=[Entry("kept", "1")])
    before = await _run(database, run_id)
    expected = (
        "Changing param values is not allowed. Params were already logged='"
        f"[{{'key': 'kept', 'old_value': '1', 'new_value': '2'}}]' for run ID='{run_id}'."
    )
    with pytest.raises(InvalidParameterValue) as refused:
        await _log(
            database,
            run_id,
            metrics=[Point("m", 1.0, 0, 0, False)],
            params=[Entry("new", "x"), Entry("kept", "2")],
            tags=[Entry("tag", "x")],
        )
    assert refused.value.message == expected
    with pytest.raises(BadRequest, match="m-absent"):
        await _log(
            database,
            run_id,
            metrics=[Point("m", 1.0, 0, 0, False, "m-absent")],
            params=[Entry("new", "x")],
            tags=[Entry("tag", "x")],
        )
    assert await _run(database, run_id) == before


async def test_one_param_says_exactly_what_would_change(database: Database, run_id: str) -> None:
    """Logging another value names key, old value, run and new value, in upstream's words."""
    async with database.write() as session:
        await log_batch.log_param(session, SYSTEM, run_id, "alpha", "0.5")
        await log_batch.log_param(session, SYSTEM, run_id, "alpha", "0.5")
        with pytest.raises(InvalidParameterValue) as refused:
            await log_batch.log_param(session, SYSTEM, run_id, "alpha", "0.6")
    assert refused.value.message == (
        "Changing param values is not allowed. Param with key='alpha' was already logged with value='0.5' "
        f"for run ID='{run_id}'. Attempted logging new value '0.6'."
    )


async def test_long_values_are_cut(database: Database, run_id: str) -> None:
    """A param keeps 6000 characters, a tag 8000; logging the long value again is the same value."""
    for _ in range(2):
        await _log(database, run_id, params=[Entry("p", "é" * 7000)], tags=[Entry("t", "é" * 9000)])
    data = (await _run(database, run_id))["data"]
    assert len(_pairs(data["params"])["p"]) == 6000
    assert len(_pairs(data["tags"])["t"]) == 8000


async def test_the_newest_point_wins_in_any_order(database: Database, run_id: str) -> None:
    """Step decides first, then time, then value, whatever is written last and however it is batched."""
    points = [
        Point("m", 1.0, 5, 9, False),
        Point("m", 7.0, 9, 3, False),
        Point("m", 2.0, 6, 9, False),
        Point("m", 3.0, 6, 9, False),
        Point("m", 0.5, 6, 9, False),
    ]
    for batch in (points[:1], points[1:2], points[2:], points[:1]):
        await _log(database, run_id, metrics=batch)
    (metric,) = (await _run(database, run_id))["data"]["metrics"]
    assert metric == {"key": "m", "value": 3.0, "timestamp": 6, "step": 9}


async def test_special_values_survive_exactly(database: Database, run_id: str) -> None:
    """Infinities, NaN and the extremes of a double come back as they went in, NaN and infinities as texts."""
    values = {
        "inf": math.inf,
        "minus_inf": -math.inf,
        "nan": math.nan,
        "tiny": 5e-324,
        "largest": 1.7976931348623157e308,
        "third": 1 / 3,
    }
    points = [MetricIn(key, value, 0) for key, value in values.items()]
    await _log(database, run_id, metrics=points)
    shown = _metrics(await _run(database, run_id))
    assert (shown.pop("inf"), shown.pop("minus_inf"), shown.pop("nan")) == ("Infinity", "-Infinity", "NaN")
    assert shown == {key: values[key] for key in shown}


async def test_a_thousand_points_and_a_hundred_tags_are_one_batch(database: Database, run_id: str) -> None:
    """The largest batches are stored; one more entry is refused with its count."""
    await _log(database, run_id, metrics=[Point(f"k{index}", 1.0, 0, 0, False) for index in range(1000)])
    await _log(database, run_id, tags=[Entry(f"t{index}", "v") for index in range(100)])
    run = await _run(database, run_id)
    assert len(run["data"]["metrics"]) == 1000
    assert len(run["data"]["tags"]) == 101
    message = "A batch logging request can contain at most 100 params. Got 101 params. Please split up params"
    with pytest.raises(InvalidParameterValue, match=message):
        await _log(database, run_id, params=[Entry(f"p{index}", "v") for index in range(101)])
    with pytest.raises(InvalidParameterValue, match=r"at most 1000 metrics, params, and tags\. Got 1001"):
        await _log(database, run_id, metrics=[Point("k", 1.0, 0, 0, False)] * 1000, tags=[Entry("t", "v")])


async def test_a_param_key_comes_once_in_a_batch(database: Database, run_id: str) -> None:
    """Even equal values under one key are refused."""
    with pytest.raises(InvalidParameterValue, match=r"Duplicate parameter keys have been submitted: \['a'\]"):
        await _log(database, run_id, params=[Entry("a", "1"), Entry("a", "1")])


async def test_writers_of_one_run_do_not_stop_each_other(database: Database, run_id: str) -> None:
    """Sixteen batches with the same keys in different orders all end, and the newest points are there."""
    keys = [f"k{index:02}" for index in range(20)]

    async def write(writer: int) -> None:
        order = keys if writer % 2 else keys[::-1]
        await _log(
            database,
            run_id,
            metrics=[Point(key, float(writer), 0, writer, False) for key in order],
            params=[Entry(key, "same") for key in order],
            tags=[Entry(key, str(writer)) for key in order],
        )

    await asyncio.gather(*(write(writer) for writer in range(16)))
    run = await _run(database, run_id)
    assert set(_metrics(run).values()) == {15.0}
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(metric_rows)) == 16 * len(keys)
        assert await session.scalar(select(func.count()).select_from(run_tags)) == len(keys) + 1


# --- inputs, outputs, logged models -----------------------------------------------------------------------


def _dataset(name: str, *tags: Entry) -> inputs.DatasetInput:
    return inputs.DatasetInput(name, "d1", "local", "{}", schema=None, profile='{"rows": 3}', tags=tags)


async def test_a_dataset_is_logged_once_per_run(database: Database, run_id: str) -> None:
    """The same dataset again changes nothing, its tags included; another run shares it with its own tags."""
    other = await _start(database)
    async with database.write() as session:
        used = [_dataset("train", Entry("mlflow.data.context", "training"), Entry("a", "b")), _dataset("bare")]
        await inputs.log_inputs(session, SYSTEM, run_id, dataset_inputs=used, model_ids=["m-1", "m-1"])
        again = [_dataset("train", Entry("late", "x"))]
        await inputs.log_inputs(session, SYSTEM, run_id, dataset_inputs=again, model_ids=["m-1"])
        await inputs.log_inputs(session, SYSTEM, other, dataset_inputs=again)
    found = (await _run(database, run_id))["inputs"]
    assert found["model_inputs"] == [{"model_id": "m-1"}]
    by_name = {one["dataset"]["name"]: one for one in found["dataset_inputs"]}
    assert _pairs(by_name["train"]["tags"]) == {"mlflow.data.context": "training", "a": "b"}
    assert by_name["bare"]["tags"] == []
    assert by_name["bare"]["dataset"]["profile"] == '{"rows": 3}'
    (shared,) = (await _run(database, other))["inputs"]["dataset_inputs"]
    assert _pairs(shared["tags"]) == {"late": "x"}


async def test_outputs_link_models_with_their_step(database: Database, run_id: str) -> None:
    """A model is one output of a run; linking it again moves its step."""
    async with database.write() as session:
        await inputs.log_outputs(session, SYSTEM, run_id, [("m-1", 0), ("m-2", 7)])
        await inputs.log_outputs(session, SYSTEM, run_id, [("m-1", 9)])
    outputs = (await _run(database, run_id))["outputs"]["model_outputs"]
    assert outputs == [{"model_id": "m-2", "step": 7}, {"model_id": "m-1", "step": 9}]


async def test_a_logged_model_goes_from_pending_to_ready(database: Database, run_id: str) -> None:
    """It is created with params and tags, finalized, deleted softly, and readable afterwards on request."""
    async with database.write() as session:
        created = await logged_models.create_logged_model(
            session,
            SYSTEM,
            "0",
            name="iris",
            source_run_id=run_id,
            params=[Entry("depth", "3")],
            tags=[Entry("any key: $", "v")],
        )
        model_id = created["info"]["model_id"]
        assert created["info"]["status"] == "LOGGED_MODEL_PENDING"
        assert created["info"]["artifact_uri"] == f"mlflow-artifacts:/0/models/{model_id}/artifacts"
        ready = await logged_models.finalize_logged_model(session, SYSTEM, model_id, "LOGGED_MODEL_READY")
        assert ready["info"]["status"] == "LOGGED_MODEL_READY"
        assert (ready["data"]["params"], ready["info"]["tags"]) == (
            [{"key": "depth", "value": "3"}],
            [{"key": "any key: $", "value": "v"}],
        )
        for _ in range(2):
            await logged_models.delete_logged_model(session, SYSTEM, model_id)
        with pytest.raises(ResourceDoesNotExist, match=f"Logged model with ID '{model_id}' not found."):
            await logged_models.get_logged_model(session, SYSTEM, model_id)
        await logged_models.get_logged_model(session, SYSTEM, model_id, allow_deleted=True)


async def test_a_metric_of_a_logged_model_shows_on_run_and_model(database: Database, run_id: str) -> None:
    """Every point is kept on the model with its run and dataset, once, and the run shows the newest."""
    async with database.write() as session:
        model_id = (await logged_models.create_logged_model(session, SYSTEM, "0"))["info"]["model_id"]
    points = [
        MetricIn("acc", 0.5, 1, 0, model_id=model_id),
        MetricIn("acc", math.inf, 2, 1, model_id=model_id, dataset_name="train", dataset_digest="d1"),
    ]
    for _ in range(2):
        await _log(database, run_id, metrics=points)
    assert _metrics(await _run(database, run_id)) == {"acc": "Infinity"}
    async with database.read() as session:
        data = (await logged_models.get_logged_model(session, SYSTEM, model_id))["data"]
    about = {"key": "acc", "model_id": model_id, "run_id": run_id}
    assert data["metrics"] == [
        about | {"value": 0.5, "timestamp": 1, "step": 0},
        about | {"value": "Infinity", "timestamp": 2, "step": 1, "dataset_name": "train", "dataset_digest": "d1"},
    ]


async def test_logged_model_params_and_tags(database: Database) -> None:
    """Params never change but may be repeated, tags are replaced, an absent tag is a 404."""
    async with database.write() as session:
        model_id = (await logged_models.create_logged_model(session, SYSTEM, "0"))["info"]["model_id"]
        for _ in range(2):
            await logged_models.log_logged_model_params(session, SYSTEM, model_id, [Entry("p", "1")])
        await logged_models.set_logged_model_tags(session, SYSTEM, model_id, [Entry("t", "1"), Entry("t", "2")])
        found = await logged_models.get_logged_model(session, SYSTEM, model_id)
        assert found["info"]["tags"] == [{"key": "t", "value": "2"}]
        await logged_models.delete_logged_model_tag(session, SYSTEM, model_id, "t")
        with pytest.raises(ResourceDoesNotExist, match="No tag with key 't' found for model with ID"):
            await logged_models.delete_logged_model_tag(session, SYSTEM, model_id, "t")
        with pytest.raises(InvalidParameterValue, match="Changing param values is not allowed"):
            await logged_models.log_logged_model_params(session, SYSTEM, model_id, [Entry("p", "2")])


async def test_a_registration_is_noted_once_beside_what_clients_wrote(database: Database) -> None:
    """The tag lists each version once and keeps the entries of clients; a broken one is replaced."""
    async with database.write() as session:
        model_id = (await logged_models.create_logged_model(session, SYSTEM, "0"))["info"]["model_id"]
        for _ in range(2):
            await logged_models.record_registration(session, model_id, "main.ml.iris", 1)
        key = logged_models.REGISTRATIONS_TAG
        tags = (await logged_models.get_logged_model(session, SYSTEM, model_id))["info"]["tags"]
        assert tags == [{"key": key, "value": '[{"name": "main.ml.iris", "version": 1}]'}]
        await logged_models.set_logged_model_tags(session, SYSTEM, model_id, [Entry(key, "not json")])
        await logged_models.record_registration(session, model_id, "main.ml.iris", 2)
        tags = (await logged_models.get_logged_model(session, SYSTEM, model_id))["info"]["tags"]
        assert tags == [{"key": key, "value": '[{"name": "main.ml.iris", "version": 2}]'}]


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a.b", "a%b", 'a"b', "a'b", "x" * 501, "a\x00"])
async def test_bad_logged_model_names_are_refused(database: Database, name: str) -> None:
    """A name is not empty and holds none of the characters that model URIs use."""
    async with database.write() as session:
        with pytest.raises(InvalidParameterValue):
            await logged_models.create_logged_model(session, SYSTEM, "0", name=name)
