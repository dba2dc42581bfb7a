"""Models by URI against a running registry, on both databases: resolve, fetch, load, log, register."""

import hashlib
import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tiltyard
from tests.fixtures.services import Service
from tiltyard import errors
from tiltyard.cache import verification
from tiltyard.client import Client
from tiltyard.models import ModelReference, fetch, resolve
from tiltyard.models.logged import upload_model


@pytest.fixture
def client(shared_registry: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Client]:
    """A client of the running registry, which the environment names too; a cache of the test's own."""
    monkeypatch.setenv("TILTYARD_REGISTRY_URL", shared_registry.url)
    monkeypatch.setenv("TILTYARD_CACHE_DIR", str(tmp_path / "cache"))
    with Client() as connected:
        yield connected


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"main.models.m{uuid.uuid4().hex[:12]}"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Some files in the shape of a model directory; nothing can load them."""
    root = tmp_path / "model"
    (root / "data").mkdir(parents=True)
    (root / "MLmodel").write_text("flavors: {}\n")
    (root / "data" / "weights é#.bin".replace("#", "")).write_bytes(os.urandom(200_000))
    return root


@pytest.fixture
def version(client: Client, name: str, directory: Path) -> ModelReference:
    """The files, registered as version 1 under the alias champion."""
    tiltyard.register_model(str(directory), name)
    client.set_alias(name, "champion", 1)
    return resolve(f"models:/{name}@champion")


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def stored(service: Service, reference: ModelReference, file: str) -> Path:
    """The file in the registry's own artifact directory."""
    data = service.command[service.command.index("--data-dir") + 1]
    path = reference.location.removeprefix("mlflow-artifacts:/").strip("/")
    found = [folder / path / file for folder in Path(data).iterdir() if (folder / path / file).exists()]
    return found[0]


def double(model_input: Any) -> Any:
    """A model that is a plain function."""
    return model_input["x"] * 2


def test_every_form_of_a_uri_names_the_same_version(client: Client, name: str, version: ModelReference) -> None:
    """Number, alias, latest, stage and logged model resolve to one exact version and its manifest."""
    client.transition_model_version_stage(name, 1, "Production")
    assert (version.name, version.version, version.exact_uri) == (name, 1, f"models:/{name}/1")
    for uri in (
        f"models:/{name}/1",
        f"models:/{name}/latest",
        f"models:/{name}/production",
        f"models:/{version.model_id}",
    ):
        found = resolve(uri)
        assert (found.exact_uri, found.digest, found.manifest) == (
            version.exact_uri,
            version.digest,
            version.manifest,
        ), uri


def test_a_reference_does_not_move_with_its_alias(
    client: Client, name: str, version: ModelReference, directory: Path
) -> None:
    """What was resolved stays what it was when the alias is promoted."""
    before = contents(directory)
    (directory / "MLmodel").write_text("flavors: {new: {}}\n")
    tiltyard.register_model(str(directory), name)
    client.set_alias(name, "champion", 2, expected_version=1)
    assert contents(fetch(version).path) == before
    assert resolve(f"models:/{name}@champion").version == 2
    client.rollback_alias(name, "champion")
    assert resolve(f"models:/{name}@champion").version == 1


def test_references_travel_between_processes(version: ModelReference) -> None:
    """A reference can be pickled, as Spark does with it, and fetched from where it arrives."""
    assert pickle.loads(pickle.dumps(version)) == version


@pytest.mark.parametrize(
    "uri",
    [
        "models:/main.models.nobody/1",
        "models:/{name}/99",
        "models:/{name}@nobody",
        "models:/{name}/Staging",
        "models:/m-00000000000000000000000000000000",
        "runs:/00000000000000000000000000000000/model",
        "/no/such/directory",
    ],
)
def test_what_names_nothing(version: ModelReference, name: str, uri: str) -> None:
    """A URI of a missing model, version, alias, stage, run or directory says that it names nothing."""
    with pytest.raises(errors.ResourceDoesNotExist):
        resolve(uri.format(name=name))


def test_fetched_files_are_what_was_uploaded(version: ModelReference, directory: Path) -> None:
    """Every byte arrives, in the cache's directory of the digest."""
    fetched = fetch(version)
    assert contents(fetched.path) == contents(directory)
    assert fetched.path.name == (version.digest or "").removeprefix("sha256:")


def test_a_flipped_byte_in_the_store_is_refused(
    shared_registry: Service, version: ModelReference, tmp_path: Path
) -> None:
    """A stored file that changed after registration is named and never handed out."""
    file = stored(shared_registry, version, "MLmodel")
    good = file.read_bytes()
    file.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    with pytest.raises(errors.ModelIntegrityError, match="MLmodel"):
        fetch(version)
    assert not any((tmp_path / "cache" / "models").iterdir())
    file.write_bytes(good)
    assert fetch(version).path.exists()


def test_a_flipped_byte_in_the_cache_is_fetched_again(version: ModelReference, directory: Path) -> None:
    """A damaged cache heals itself from the registry."""
    entry = fetch(version).path
    (entry / "MLmodel").write_bytes(b"evil")
    verification.forget(entry)
    assert contents(fetch(version).path) == contents(directory)


def test_a_cached_version_needs_no_registry(version: ModelReference, directory: Path) -> None:
    """Once fetched, a reference is read while the registry is away."""
    from dataclasses import replace

    fetch(version)
    assert contents(fetch(replace(version, registry_url="http://127.0.0.1:9")).path) == contents(directory)


def test_a_pinned_version_cannot_be_changed_through_the_registry(client: Client, version: ModelReference) -> None:
    """Whoever logged the files cannot change or delete them once they are a version."""
    path = version.location.removeprefix("mlflow-artifacts:").strip("/")
    with pytest.raises(errors.ResourceConflict):
        client.upload(f"{path}/MLmodel", b"evil")
    with pytest.raises(errors.ResourceConflict):
        client.delete_artifacts(path)


def test_an_unregistered_model_is_loaded_only_by_who_accepts_it(client: Client, directory: Path) -> None:
    """Nobody vouches for a logged model that is no version; the message says what to do."""
    model_id = upload_model(client, directory, "unregistered")
    reference = resolve(f"models:/{model_id}")
    assert (reference.manifest, reference.digest) == (None, None)
    with pytest.raises(errors.ModelIntegrityError, match="accept_unverified"):
        fetch(reference)
    assert contents(fetch(reference, accept_unverified=True).path) == contents(directory)


def test_a_version_elsewhere_is_external(
    client: Client, name: str, directory: Path, s3_uri: str, s3_environment: dict[str, str]
) -> None:
    """A source outside our stores is recorded as it came and read only by who accepts it."""
    import boto3

    bucket = s3_uri.removeprefix("s3://")
    for path, body in contents(directory).items():
        boto3.client("s3").put_object(Bucket=bucket, Key=f"models/one/{path}", Body=body)
    tiltyard.register_model(f"{s3_uri}/models/one", name)
    reference = resolve(f"models:/{name}/1")
    assert (reference.external, reference.manifest, reference.location) == (True, None, f"{s3_uri}/models/one")
    with pytest.raises(errors.ModelIntegrityError):
        fetch(reference)
    assert contents(fetch(reference, accept_unverified=True).path) == contents(directory)
    # The caller names the same place himself, and needs no registry's word.
    assert contents(fetch(resolve(f"{s3_uri}/models/one")).path) == contents(directory)


def test_a_directory_that_the_caller_names_is_used_where_it_lies(directory: Path) -> None:
    """A local model directory needs neither registry nor copy, and has its digest."""
    reference = resolve(str(directory))
    assert fetch(reference).path == directory
    assert reference.digest == resolve(directory.as_uri()).digest
    text = "".join(
        f"{hashlib.sha256(body).hexdigest()}  {len(body)}  {path}\n"
        for path, body in sorted(contents(directory).items(), key=lambda item: item[0].encode())
    )
    assert reference.digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_log_register_load(client: Client, name: str) -> None:
    """A function is logged, registered and loaded by alias, and predicts as before."""
    import pandas as pd

    rows = pd.DataFrame({"x": [1.0, 2.0]})
    info = tiltyard.log_model(double, "double", registered_model_name=name, input_example=rows, tags={"k": "v"})
    assert info.registered_model_version == 1
    assert client.get_logged_model(info.model_id).info.status == "LOGGED_MODEL_READY"
    found = client.get_model_version(name, 1)
    assert (found.model_id, found.source) == (info.model_id, f"models:/{info.model_id}")
    client.set_alias(name, "champion", 1)
    model = tiltyard.load_model(f"models:/{name}@champion")
    assert list(model.predict(rows)) == [2.0, 4.0]
    assert model.metadata.model_id == info.model_id


def test_log_in_a_run(client: Client, name: str) -> None:
    """A model logged in a run is found by the run's URI, and its version knows the run."""
    experiment = client.create_experiment(f"exp-{uuid.uuid4().hex}")
    run = client.create_run(experiment, run_name="r").info.run_id
    info = tiltyard.log_model(double, "double", run_id=run)
    assert resolve(f"runs:/{run}/double").model_id == info.model_id
    version = tiltyard.register_model(f"runs:/{run}/double", name)
    assert (version.run_id, version.model_id) == (run, info.model_id)
    outputs = client.get_run(run).outputs
    assert outputs is not None
    assert [output.model_id for output in outputs.model_outputs] == [info.model_id]
    assert resolve(f"runs:/{run}/double").exact_uri == f"models:/{name}/1"


def test_artifacts_of_a_run_can_be_registered(client: Client, name: str, directory: Path) -> None:
    """A directory that was stored below a run, as older clients do, becomes a version as well."""
    experiment = client.create_experiment(f"exp-{uuid.uuid4().hex}")
    run = client.create_run(experiment).info
    root = run.artifact_uri.removeprefix("mlflow-artifacts:").strip("/")
    for path, body in contents(directory).items():
        client.upload(f"{root}/old/{path}", body)
    version = tiltyard.register_model(f"runs:/{run.run_id}/old", name)
    assert version.run_id == run.run_id
    assert contents(fetch(resolve(f"models:/{name}/1")).path) == contents(directory)


def test_a_copy_is_made_of_the_same_files(client: Client, name: str, version: ModelReference) -> None:
    """A version of another model, by alias, becomes a version here with the same digest; no byte moves."""
    copied = tiltyard.register_model(f"models:/{name}@champion", f"{name}copy")
    assert copied.version == "1"
    assert resolve(f"models:/{name}copy/1").digest == version.digest


def test_a_failed_upload_marks_the_logged_model(client: Client, directory: Path) -> None:
    """What could not be uploaded is not READY, and the first error is the one that is raised."""
    (directory / ("x" * 200)).write_bytes(b"1")
    (directory / "x?y").write_bytes(b"1")
    experiment = client.create_experiment(f"exp-{uuid.uuid4().hex}")
    with pytest.raises(errors.InvalidParameterValue):
        upload_model(client, directory, "broken", experiment_id=experiment)
    found = client.search_logged_models([experiment]).models
    assert [model.info.status for model in found] == ["LOGGED_MODEL_UPLOAD_FAILED"]


def test_an_experiment_is_created_when_it_is_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, else the stock client's variables, say where a model is logged."""
    wanted = f"exp-{uuid.uuid4().hex}"
    first = tiltyard.log_model(double, "a", experiment=wanted)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", wanted)
    second = tiltyard.log_model(double, "b")
    experiment = client.get_experiment_by_name(wanted).experiment_id
    for info in (first, second):
        assert client.get_logged_model(info.model_id).info.experiment_id == experiment


COLD_START = """
import sys, threading
from tiltyard.models import fetch, resolve
reference = resolve(sys.argv[1])
threads = [threading.Thread(target=fetch, args=(reference,)) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(fetch(reference))
"""


def test_processes_that_start_together_download_once(
    shared_registry: Service, version: ModelReference, directory: Path
) -> None:
    """Four processes that load one version at once make one download between them."""
    before = shared_registry.logs.count('"method":"GET","path":"/api/2.0/mlflow-artifacts/artifacts/')
    processes = [
        subprocess.Popen([sys.executable, "-c", COLD_START, version.exact_uri], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert len(set(outputs)) == 1
    assert contents(Path(outputs[0])) == contents(directory)
    after = shared_registry.logs.count('"method":"GET","path":"/api/2.0/mlflow-artifacts/artifacts/')
    assert after - before == len(contents(directory))


LIGHT = """
import sys
import tiltyard
assert not {"numpy", "pandas", "httpx2", "msgspec"} & set(sys.modules), sorted(sys.modules)
assert sorted(tiltyard.__all__) == tiltyard.__all__
tiltyard.Client, tiltyard.AsyncClient, tiltyard.load_model, tiltyard.log_model, tiltyard.resolve
assert not {"numpy", "pandas", "sklearn", "litestar", "sqlalchemy"} & set(sys.modules)
"""


def test_the_import_is_light() -> None:
    """`import tiltyard` loads no data library, nor does a look at its public names."""
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


def test_the_public_names_are_there() -> None:
    """Each public name can be imported, and unknown ones are refused."""
    for public in tiltyard.__all__:
        assert getattr(tiltyard, public) is not None
        assert public in dir(tiltyard)
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _: Callable[..., Any] = tiltyard.nothing_like_this
