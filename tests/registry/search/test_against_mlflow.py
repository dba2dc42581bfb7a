"""The same random rows in a real MLflow store and in ours, the same filters and orders: the same answers."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.registry.search import filters as f
from tests.registry.search.databases import SearchedDatabases, searched_databases
from tests.registry.search.rows import insert_peers, random_world
from tiltyard_registry.search import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    Dataset,
    OrderBy,
    Scope,
)

WORLD = random_world(20)


class Stores(NamedTuple):
    """Both sides, over the same rows."""

    ours: SearchedDatabases
    tracking: Any
    registry: Any


@pytest.fixture(scope="module")
def stores(sqlite_template: Path, postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """MLflow's stores on SQLite, and our tables on SQLite and PostgreSQL."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    folder = tmp_path_factory.mktemp("search")
    address = f"sqlite:///{folder / 'mlflow.db'}"
    tracking = TrackingStore(address, str(folder))
    with tracking.ManagedSessionMaker(read_only=False) as session:
        insert_peers(session, WORLD)
    with searched_databases(WORLD, folder, sqlite_template, postgres_server) as ours:
        yield Stores(ours, tracking, RegistryStore(address))
    tracking.engine.dispose()


def _same(
    stores: Stores, peers: list[Any], scope: Scope, text: str | None, order: Sequence[Any] | None, **more: Any
) -> None:
    for dialect, found in stores.ours.listing(scope, text, order, **more).items():
        if dialect == "postgresql" and text and "ilike" in text.lower() and not text.isascii():
            # PostgreSQL folds the case of every letter, SQLite that of ASCII alone.
            continue
        assert found == peers, dialect


def cases(count: int) -> Callable[[Any], Any]:
    """So many examples, always the same; TILTYARD_SEARCH_CASES=20 makes it twenty times as many, and others."""
    times = int(os.environ.get("TILTYARD_SEARCH_CASES", "1"))
    return settings(
        max_examples=count * times,
        derandomize=times == 1,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@cases(250)
@given(text=st.none() | f.RUN_FILTERS, order=f.RUN_ORDERS)
def test_runs(stores: Stores, text: str | None, order: list[str]) -> None:
    """Filters and orders over runs give MLflow's rows in MLflow's order."""
    from mlflow.entities import ViewType

    found = stores.tracking.search_runs(["0", "1", "2"], text, ViewType.ALL, 1000, order)
    _same(stores, [run.info.run_id for run in found], RUNS, text, order)


@cases(120)
@given(text=st.none() | f.EXPERIMENT_FILTERS, order=f.EXPERIMENT_ORDERS)
def test_experiments(stores: Stores, text: str | None, order: list[str]) -> None:
    """Filters and orders over experiments give MLflow's rows in MLflow's order."""
    found = stores.tracking.search_experiments(filter_string=text, order_by=order)
    _same(stores, [int(experiment.experiment_id) for experiment in found], EXPERIMENTS, text, order)


@cases(150)
@given(text=st.none() | f.MODEL_FILTERS, order=f.MODEL_ORDERS)
def test_registered_models(stores: Stores, text: str | None, order: list[str]) -> None:
    """Filters and orders over registered models give MLflow's rows in MLflow's order, prompts left out alike."""
    found = stores.registry.search_registered_models(filter_string=text, order_by=order)
    _same(stores, [model.name for model in found], REGISTERED_MODELS, text, order)


@cases(150)
@given(text=st.none() | f.VERSION_FILTERS, order=f.VERSION_ORDERS)
def test_model_versions(stores: Stores, text: str | None, order: list[str]) -> None:
    """Filters and orders over model versions give MLflow's rows in MLflow's order, prompts left out alike."""
    found = stores.registry.search_model_versions(filter_string=text, order_by=order)
    _same(stores, [(v.name, int(v.version)) for v in found], MODEL_VERSIONS, text, order)


@cases(120)
@given(
    text=st.none() | f.LOGGED_FILTERS,
    order=st.lists(
        st.builds(
            OrderBy,
            st.sampled_from(["name", "model_id", "creation_timestamp", "metrics.k", "metrics.key two"]),
            st.booleans(),
            st.sampled_from([None, None, WORLD.datasets[0]["name"]]),
            st.none(),
        ),
        max_size=2,
        unique_by=lambda item: item.field_name,
    ),
    dataset=st.none() | st.sampled_from(WORLD.datasets[:3]),
)
def test_logged_models(stores: Stores, text: str | None, order: list[OrderBy], dataset: dict[str, Any] | None) -> None:
    """Filters, datasets and orders over logged models give MLflow's rows in MLflow's order."""
    narrowed = {"dataset_name": dataset["name"], "dataset_digest": dataset["digest"]} if dataset else None
    found = stores.tracking.search_logged_models(
        ["0", "1", "2"],
        filter_string=text,
        datasets=[narrowed] if narrowed else None,
        max_results=1000,
        order_by=[item._asdict() for item in order],
    )
    datasets = [Dataset(dataset["name"], dataset["digest"])] if dataset else []
    _same(stores, [model.model_id for model in found], LOGGED_MODELS, text, order, datasets=datasets)
