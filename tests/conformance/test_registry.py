"""The model registry, driven by the stock client: register, alias, tag, stage, search, rename, copy, delete, load."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import requests

from tests.conformance.iris import Iris, log_iris


@pytest.fixture
def name(unique: str) -> str:
    """A model name of three parts that nobody else uses."""
    return f"main.ml.{unique}"


@pytest.fixture
def logged(mlflow: ModuleType, experiment: Any) -> Any:
    """A logged model without weights: registering reads no more of it than its metadata."""
    return mlflow.create_external_model(name="light")


@pytest.fixture
def register(mlflow: ModuleType, logged: Any) -> Callable[..., Any]:
    """Gives a function that registers one more version of a model."""
    return lambda name, **options: mlflow.register_model(f"models:/{logged.model_id}", name, **options)


def _code(refused: Any) -> str:
    return str(refused.value.error_code)


def _answers(mlflow: ModuleType, uri: str, iris: Iris) -> bool:
    return list(mlflow.pyfunc.load_model(uri).predict(iris.features)) == list(iris.answers)


# --- registering ------------------------------------------------------------------------------------------


def test_log_model_registers(mlflow: ModuleType, client: Any, experiment: Any, iris: Iris) -> None:
    """`log_model(registered_model_name=…)` in a run makes versions 1 and 2, each loadable in every way."""
    name = f"main.ml.iris_{experiment.experiment_id}"
    with mlflow.start_run() as run:
        info = log_iris(mlflow, iris, registered_model_name=name)
        again = log_iris(mlflow, iris, registered_model_name=name)
    assert (info.registered_model_version, again.registered_model_version) in (("1", "2"), (1, 2))
    version = client.get_model_version(name, "1")
    assert (version.name, version.version, version.status) == (name, "1", "READY")
    assert (version.run_id, version.source) == (run.info.run_id, f"models:/{info.model_id}")
    assert (version.current_stage, version.aliases, version.description) == ("None", [], "")
    assert version.creation_timestamp == version.last_updated_timestamp > 0
    uri = client.get_model_version_download_uri(name, "1")
    assert uri == f"{experiment.artifact_location}/models/{info.model_id}/artifacts"
    client.set_registered_model_alias(name, "champion", "1")
    client.transition_model_version_stage(name, "1", "Production")
    for suffix in ("/1", "@champion", "/latest", "/Production", "/production"):
        assert _answers(mlflow, f"models:/{name}{suffix}", iris), suffix
    assert list(mlflow.sklearn.load_model(f"models:/{name}/2").predict(iris.features)) == list(iris.answers)
    signature = mlflow.models.get_model_info(f"models:/{name}@champion").signature
    assert signature == mlflow.models.infer_signature(iris.features, iris.answers)
    loaded = mlflow.pyfunc.load_model(f"models:/{name}/1")
    assert loaded.input_example.shape == (2, 4)


def test_the_logged_model_knows_its_versions(mlflow: ModuleType, experiment: Any, iris: Iris) -> None:
    """After registration the logged model names the version in its tag."""
    name = f"main.ml.known_{experiment.experiment_id}"
    info = log_iris(mlflow, iris, registered_model_name=name)
    noted = json.loads(mlflow.get_logged_model(info.model_id).tags["mlflow.modelVersions"])
    assert {(entry["name"], int(entry["version"])) for entry in noted} == {(name, 1)}


def test_log_model_without_a_run_registers(mlflow: ModuleType, client: Any, experiment: Any, iris: Iris) -> None:
    """No run is started; the version has none."""
    name = f"main.ml.runless_{experiment.experiment_id}"
    log_iris(mlflow, iris, registered_model_name=name)
    version = client.get_model_version(name, 1)
    assert version.run_id in (None, "")
    assert mlflow.search_runs(output_format="list") == []
    assert _answers(mlflow, f"models:/{name}/1", iris)


def test_register_model_from_every_source(mlflow: ModuleType, client: Any, experiment: Any, iris: Iris) -> None:
    """A logged model registers by its own URI and by its run's; files of a run register by theirs."""
    name = f"main.ml.sources_{experiment.experiment_id}"
    with mlflow.start_run() as run:
        info = log_iris(mlflow, iris)
        mlflow.sklearn.save_model(iris.model, "saved", pip_requirements=["scikit-learn"])
        mlflow.log_artifacts("saved", "by hand")
    run_id = run.info.run_id
    by_model = mlflow.register_model(f"models:/{info.model_id}", name, tags={"from": "model"})
    by_run = mlflow.register_model(f"runs:/{run_id}/model", name)
    by_files = mlflow.register_model(f"runs:/{run_id}/by hand", name)
    assert [one.version for one in (by_model, by_run, by_files)] == ["1", "2", "3"]
    assert by_model.source == by_run.source == f"models:/{info.model_id}"
    assert by_files.source == f"{run.info.artifact_uri}/by hand"
    assert {by_model.run_id, by_run.run_id, by_files.run_id} == {run_id}
    assert client.get_model_version(name, "1").tags == {"from": "model"}
    for version in (1, 2, 3):
        assert _answers(mlflow, f"models:/{name}/{version}", iris)


def test_a_registered_model_never_changes(mlflow: ModuleType, client: Any, experiment: Any, iris: Iris) -> None:
    """Files below a registered version cannot be written or deleted, and deleting the run leaves it loadable."""
    name = f"main.ml.pinned_{experiment.experiment_id}"
    with mlflow.start_run() as run:
        info = log_iris(mlflow, iris, registered_model_name=name)
    with pytest.raises(requests.HTTPError, match="RESOURCE_CONFLICT"):
        client.log_model_artifact(info.model_id, mlflow.__file__)
    client.delete_run(run.info.run_id)
    client.delete_logged_model(info.model_id)
    client.delete_experiment(experiment.experiment_id)
    assert _answers(mlflow, f"models:/{name}/1", iris)


@pytest.mark.parametrize(
    "source",
    [
        "/etc",
        "file:///etc/passwd",
        "mlflow-artifacts:/0/../../etc",
        "javascript:alert(1)",
        "models:/m-00000000000000000000000000000000",
        "models:/main.ml.absent/1",
        "runs:/00000000000000000000000000000000/model",
    ],
)
def test_sources_outside_the_run_are_refused(mlflow: ModuleType, client: Any, name: str, source: str) -> None:
    """A version is not made from what the caller does not own or what is not there."""
    client.create_registered_model(name)
    with pytest.raises(mlflow.MlflowException) as refused:
        client._get_registry_client().store.create_model_version(name, source)
    assert _code(refused) in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
    assert client.search_model_versions(f"name = '{name}'") == []


# --- registered models ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["{}", "main.ml.{}", "main.new_schema_{}.model"])
def test_a_registered_model_has_the_name_it_was_given(
    mlflow: ModuleType, client: Any, unique: str, pattern: str
) -> None:
    """Short names and names of three parts come back as they came, whether the schema existed or not."""
    name = pattern.format(unique)
    created = client.create_registered_model(name, tags={"a": "1"}, description="about")
    found = client.get_registered_model(name)
    for model in (created, found):
        assert (model.name, model.description, model.tags) == (name, "about", {"a": "1"})
    assert (found.aliases, found.latest_versions) == ({}, [])
    with pytest.raises(mlflow.MlflowException, match="already exists") as taken:
        client.create_registered_model(name)
    assert _code(taken) == "RESOURCE_ALREADY_EXISTS"
    assert client.update_registered_model(name, "other").description == "other"
    client.set_registered_model_tag(name, "b", "2")
    client.set_registered_model_tag(name, "a", "3")
    client.delete_registered_model_tag(name, "absent")
    assert client.get_registered_model(name).tags == {"a": "3", "b": "2"}
    client.delete_registered_model_tag(name, "b")
    assert client.get_registered_model(name).tags == {"a": "3"}


@pytest.mark.parametrize("name", ["", "   ", "a.b", "a.b.c.d", "a/b", "a:b", "..", "x" * 300])
def test_bad_model_names_are_refused(mlflow: ModuleType, client: Any, name: str) -> None:
    """A name of two or four parts, blank, too long, or with the marks of a URI is the caller's mistake."""
    with pytest.raises(mlflow.MlflowException) as refused:
        client._get_registry_client().store.create_registered_model(name)
    assert _code(refused) == "INVALID_PARAMETER_VALUE"


def test_what_is_absent_is_a_404(mlflow: ModuleType, client: Any, name: str) -> None:
    """Models and versions that are not there are named in upstream's words."""
    with pytest.raises(mlflow.MlflowException, match=f"Registered Model with name={name} not found") as model:
        client.get_registered_model(name)
    client.create_registered_model(name)
    message = rf"Model Version \(name={name}, version=9\) not found"
    with pytest.raises(mlflow.MlflowException, match=message) as version:
        client.get_model_version(name, "9")
    assert (_code(model), _code(version)) == ("RESOURCE_DOES_NOT_EXIST",) * 2
    with pytest.raises(mlflow.MlflowException, match="must be an integer") as words:
        client.get_model_version(name, "abc")
    assert _code(words) == "INVALID_PARAMETER_VALUE"


def test_rename_takes_everything_along(client: Any, mlflow: ModuleType, name: str, register: Any) -> None:
    """Versions, tags and aliases follow the new name; the old one is gone; a taken name is refused."""
    register(name, tags={"t": "1"})
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_tag(name, "m", "2")
    new = f"{name}_renamed"
    client.rename_registered_model(name, new)
    assert client.get_registered_model(new).name == new
    assert client.get_model_version_by_alias(new, "champion").version == "1"
    assert client.get_model_version(new, "1").tags == {"t": "1"}
    assert client.get_registered_model(new).tags == {"m": "2"}
    with pytest.raises(mlflow.MlflowException) as gone:
        client.get_registered_model(name)
    assert _code(gone) == "RESOURCE_DOES_NOT_EXIST"
    client.create_registered_model(name)
    with pytest.raises(mlflow.MlflowException) as taken:
        client.rename_registered_model(name, new)
    assert _code(taken) == "RESOURCE_ALREADY_EXISTS"


def test_delete_and_create_again(client: Any, mlflow: ModuleType, name: str, register: Any) -> None:
    """A deleted model takes its versions along; one of the same name starts at version 1."""
    register(name)
    register(name)
    client.delete_registered_model(name)
    with pytest.raises(mlflow.MlflowException) as gone:
        client.get_model_version(name, "1")
    assert _code(gone) == "RESOURCE_DOES_NOT_EXIST"
    assert client.search_model_versions(f"name = '{name}'") == []
    assert register(name).version == "1"


# --- versions ---------------------------------------------------------------------------------------------


def test_versions_are_described_tagged_and_deleted(client: Any, mlflow: ModuleType, name: str, register: Any) -> None:
    """A deleted version is gone, its aliases too, and its number is never used again."""
    register(name, tags={"a": "1"})
    register(name)
    assert client.update_model_version(name, "1", "about").description == "about"
    client.set_model_version_tag(name, "1", "b", "2")
    client.delete_model_version_tag(name, "1", "a")
    client.delete_model_version_tag(name, "1", "absent")
    assert client.get_model_version(name, "1").tags == {"b": "2"}
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "challenger", "1")
    client.delete_model_version(name, "2")
    for look in (
        lambda: client.get_model_version(name, "2"),
        lambda: client.get_model_version_download_uri(name, "2"),
        lambda: client.delete_model_version(name, "2"),
    ):
        with pytest.raises(mlflow.MlflowException) as gone:
            look()
        assert _code(gone) == "RESOURCE_DOES_NOT_EXIST"
    assert client.get_registered_model(name).aliases == {"challenger": "1"}
    assert register(name).version == "3"


def test_stages_and_archiving(client: Any, mlflow: ModuleType, name: str, register: Any) -> None:
    """A transition may archive what was in the target stage; latest versions are one per stage."""
    for _ in range(4):
        register(name)
    assert client.transition_model_version_stage(name, "1", "production").current_stage == "Production"
    client.transition_model_version_stage(name, "2", "Production")
    client.transition_model_version_stage(name, "3", "Production", archive_existing_versions=True)
    stages = {one.version: one.current_stage for one in client.search_model_versions(f"name = '{name}'")}
    assert stages == {"1": "Archived", "2": "Archived", "3": "Production", "4": "None"}
    latest = {one.current_stage: one.version for one in client.get_latest_versions(name)}
    assert latest == {"Archived": "2", "Production": "3", "None": "4"}
    assert [one.version for one in client.get_latest_versions(name, ["Production"])] == ["3"]
    shown = {one.current_stage: one.version for one in client.get_registered_model(name).latest_versions}
    assert shown == latest
    client.set_model_version_tag(name, stage="Production", key="t", value="v")
    assert client.get_model_version(name, "3").tags == {"t": "v"}
    with pytest.raises(mlflow.MlflowException, match="Invalid Model Version stage: prod") as unknown:
        client.transition_model_version_stage(name, "1", "prod")
    with pytest.raises(mlflow.MlflowException) as archived:
        client.transition_model_version_stage(name, "1", "None", archive_existing_versions=True)
    assert (_code(unknown), _code(archived)) == ("INVALID_PARAMETER_VALUE",) * 2


def test_copies_share_their_source(mlflow: ModuleType, client: Any, experiment: Any, iris: Iris) -> None:
    """`copy_model_version` makes a version of another model that loads the same files, by number and by alias."""
    name = f"main.ml.copied_{experiment.experiment_id}"
    with mlflow.start_run() as run:
        log_iris(mlflow, iris, registered_model_name=name)
    client.set_registered_model_alias(name, "champion", "1")
    first = client.copy_model_version(f"models:/{name}/1", f"{name}_prod")
    second = client.copy_model_version(f"models:/{name}@champion", f"{name}_prod")
    assert (first.version, second.version) == ("1", "2")
    assert first.source == f"models:/{name}/1"
    assert first.run_id == run.info.run_id
    copied = client.copy_model_version(f"models:/{name}_prod/2", f"{name}_again")
    assert _answers(mlflow, f"models:/{name}_again/{copied.version}", iris)
    original = client.get_model_version_download_uri(name, "1")
    assert client.get_model_version_download_uri(f"{name}_again", "1") == original
    with pytest.raises(mlflow.MlflowException, match=r"Model Version .* not found"):
        client.copy_model_version(f"models:/{name}/9", f"{name}_prod")


# --- aliases ----------------------------------------------------------------------------------------------


def test_aliases_move_and_end(client: Any, mlflow: ModuleType, name: str, register: Any) -> None:
    """Setting moves an alias; both the model and its versions show it; deleting an absent one is fine."""
    register(name)
    register(name)
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "Champion", "2")
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "123", "1")
    assert client.get_registered_model(name).aliases == {"champion": "2", "Champion": "2", "123": "1"}
    assert sorted(client.get_model_version(name, "2").aliases) == ["Champion", "champion"]
    assert client.get_model_version_by_alias(name, "champion").version == "2"
    assert client.get_model_version_by_alias(name, "Latest").version == "2"
    for _ in range(2):
        client.delete_registered_model_alias(name, "champion")
    with pytest.raises(mlflow.MlflowException, match="Registered model alias champion not found") as absent:
        client.get_model_version_by_alias(name, "champion")
    assert _code(absent) == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V20", "a b", "a/b", "", "x" * 256])
def test_bad_aliases_are_refused(client: Any, mlflow: ModuleType, name: str, alias: str) -> None:
    """Reserved and malformed aliases are the caller's mistake."""
    client.create_registered_model(name)
    with pytest.raises(mlflow.MlflowException) as refused:
        client._get_registry_client().store.set_registered_model_alias(name, alias, "1")
    assert _code(refused) == "INVALID_PARAMETER_VALUE"


def test_an_alias_names_an_existing_version(client: Any, mlflow: ModuleType, name: str) -> None:
    """An alias cannot name what is not there."""
    client.create_registered_model(name)
    with pytest.raises(mlflow.MlflowException) as refused:
        client.set_registered_model_alias(name, "champion", "1")
    assert _code(refused) == "RESOURCE_DOES_NOT_EXIST"


# --- searches ---------------------------------------------------------------------------------------------


def test_search_registered_models(client: Any, unique: str) -> None:
    """Filters, order and pages; prompts are left out unless they are asked for."""
    names = [f"main.ml.{unique}_{index}" for index in range(5)]
    for index, name in enumerate(names):
        client.create_registered_model(name, tags={"parity": str(index % 2), "group": unique})
    mine = f"tags.group = '{unique}'"

    def found(filter_string: str, **options: Any) -> list[str]:
        return [model.name for model in client.search_registered_models(filter_string, **options)]

    assert found(f"name = '{names[0]}'") == names[:1]
    assert found(f"name LIKE 'main.ml.{unique}%'") == names
    assert found(f"name ILIKE 'MAIN.ML.{unique.upper()}%' AND tags.parity = '1'") == [names[1], names[3]]
    assert found(f"{mine} AND tags.parity != '1'", order_by=["name DESC"]) == [names[4], names[2], names[0]]
    assert found(mine, order_by=["last_updated_timestamp DESC", "name ASC"])[0] == names[4]
    seen, token = [], None
    while True:
        page = client.search_registered_models(mine, max_results=2, page_token=token)
        seen += [model.name for model in page]
        token = page.token
        if not token:
            break
    assert seen == names
    client.set_registered_model_tag(names[0], "mlflow.prompt.is_prompt", "true")
    assert found(mine) == names[1:]


def test_search_model_versions(client: Any, mlflow: ModuleType, experiment: Any, unique: str, register: Any) -> None:
    """Filters over name, run, source, number and tags; order and pages."""
    name, other = f"main.ml.{unique}_a", f"main.ml.{unique}_b"
    for index in range(3):
        register(name, tags={"index": str(index)})
    register(other)

    def found(filter_string: str, **options: Any) -> list[tuple[str, str]]:
        return [(one.name, one.version) for one in client.search_model_versions(filter_string, **options)]

    assert found(f"name = '{name}'", order_by=["version_number ASC"]) == [(name, "1"), (name, "2"), (name, "3")]
    assert found(f"name = '{name}' AND tags.index = '1'") == [(name, "2")]
    assert found(f"name = '{name}' AND version_number >= 2", order_by=["version_number DESC"]) == [
        (name, "3"),
        (name, "2"),
    ]
    source = client.get_model_version(name, "1").source
    assert len(found(f"source_path = '{source}'")) == 4
    assert found(f"name IN ('{other}', 'nope')") == [(other, "1")]
    client.set_registered_model_alias(name, "champion", "2")
    (version,) = client.search_model_versions(f"name = '{name}' AND version_number = 2")
    assert version.aliases == ["champion"]
    seen, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=2, page_token=token)
        seen += [one.version for one in page]
        token = page.token
        if not token:
            break
    assert sorted(seen) == ["1", "2", "3"]


def test_search_model_versions_by_run(client: Any, mlflow: ModuleType, experiment: Any, iris: Iris) -> None:
    """Versions are found by the run that made them."""
    name = f"main.ml.by_run_{experiment.experiment_id}"
    with mlflow.start_run() as run:
        log_iris(mlflow, iris, registered_model_name=name)
    (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert (version.name, version.version) == (name, "1")


@pytest.mark.parametrize("filter_string", ["foo = 'x'", "name > 'x'", "name = x", "version = 1", "name == 'x'"])
def test_bad_registry_filters_are_refused(client: Any, mlflow: ModuleType, filter_string: str) -> None:
    """A filter that cannot be read is the caller's mistake, for models and for versions."""
    for search in (client.search_registered_models, client.search_model_versions):
        with pytest.raises(mlflow.MlflowException) as refused:
            search(filter_string)
        assert _code(refused) == "INVALID_PARAMETER_VALUE"
