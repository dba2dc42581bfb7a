"""The stock client with Unity Catalog's protocol: registry URI `uc:http://…`, files written by the client itself."""

import uuid
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conformance.iris import Iris, log_iris
from tests.fixtures.services import Service
from tests.registry.plain_http import ask


@pytest.fixture
def unity(mlflow: ModuleType, shared_registry: Service) -> ModuleType:
    """The client with the registry under test as Unity Catalog, and as plain tracking server."""
    mlflow.set_registry_uri(f"uc:{shared_registry.url}")
    return mlflow


@pytest.fixture
def name() -> str:
    """A three-part name nobody else uses, which is all this client takes."""
    return f"main.uc.m{uuid.uuid4().hex[:8]}"


def test_log_register_load_and_search(
    unity: ModuleType, shared_registry: Service, experiment: Any, iris: Iris, name: str
) -> None:
    """A model logged with a registered name is copied to its place, finalized, found, loaded, and frozen."""
    with unity.start_run():
        log_iris(unity, iris, registered_model_name=name)
    client = unity.MlflowClient()
    version = client.get_model_version(name, "1")
    assert version.status == "READY" and version.source.startswith("models:/m-")
    loaded = unity.pyfunc.load_model(f"models:/{name}/1")
    assert np.array_equal(loaded.predict(iris.features), iris.answers)
    assert [found.version for found in client.search_model_versions(f"name='{name}'")] == [1]
    assert name in [found.name for found in client.search_registered_models()]
    status, _, body = ask(shared_registry.port, "GET", f"/api/tiltyard/v1/models/{name}/versions/1/manifest")
    assert status == 200 and b'"path":"MLmodel"' in body and b'"digest":"sha256:' in body


def test_register_copy_update_and_delete(unity: ModuleType, experiment: Any, iris: Iris, name: str) -> None:
    """Registering, copying to a new name, describing and deleting work, and numbers are not used twice."""
    client = unity.MlflowClient()
    model = log_iris(unity, iris)
    for number in ("1", "2"):
        assert str(unity.register_model(model.model_uri, name).version) == number
    client.update_registered_model(name, "about it")
    client.update_model_version(name, "2", "about this one")
    assert client.get_registered_model(name).description == "about it"
    assert client.get_model_version(name, "2").description == "about this one"
    copy = client.copy_model_version(f"models:/{name}/2", f"{name}copy")
    answers = unity.pyfunc.load_model(f"models:/{copy.name}/{copy.version}").predict(iris.features)
    assert np.array_equal(answers, iris.answers)
    client.delete_model_version(name, "2")
    assert str(unity.register_model(model.model_uri, name).version) == "3"
    with pytest.raises(unity.exceptions.MlflowException, match="not found"):
        client.get_model_version(name, "2")
    for number in ("1", "3"):
        client.delete_model_version(name, number)
    client.delete_registered_model(name)
    with pytest.raises(unity.exceptions.MlflowException, match="not found"):
        client.get_registered_model(name)


def test_both_doors_open_on_one_model(
    unity: ModuleType, shared_registry: Service, experiment: Any, iris: Iris, name: str
) -> None:
    """A version registered through Unity Catalog gets aliases, tags and stages through the plain protocol."""
    unity.register_model(log_iris(unity, iris).model_uri, name)
    unity.set_registry_uri(shared_registry.url)
    client = unity.MlflowClient()
    client.set_registered_model_alias(name, "champion", "1")
    client.set_model_version_tag(name, "1", "checked", "yes")
    loaded = unity.pyfunc.load_model(f"models:/{name}@champion")
    assert np.array_equal(loaded.predict(iris.features), iris.answers)
