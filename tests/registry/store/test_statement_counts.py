"""A list is read in so many statements, whether its page is short or long."""

import re
from typing import Any

import pytest

from tests.registry.api_app import MLFLOW, OWN, UNITY, Api
from tests.registry.store.filled import RUN_ID, fill, noted

MOST = 9
"""No list takes more statements, however much hangs on its items."""

# Method, path, what is asked besides the size of the page, and where the answer has its items.
LISTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("get", f"{MLFLOW}/experiments/search", {}, "experiments"),
    ("post", f"{MLFLOW}/experiments/search", {"filter": "name LIKE 'e%'"}, "experiments"),
    ("post", f"{MLFLOW}/logged-models/search", {"experiment_ids": ["0"]}, "models"),
    ("get", f"{MLFLOW}/metrics/get-history", {"run_id": RUN_ID, "metric_key": "long"}, "metrics"),
    ("get", f"{MLFLOW}/metrics/get-history-bulk", {"run_id": RUN_ID, "metric_key": "long"}, "metrics"),
    ("get", f"{MLFLOW}/metrics/get-history-bulk-interval", {"run_ids": RUN_ID, "metric_key": "long"}, "metrics"),
    ("get", f"{MLFLOW}/model-versions/search", {}, "model_versions"),
    ("get", f"{MLFLOW}/registered-models/search", {}, "registered_models"),
    ("post", f"{MLFLOW}/runs/search", {"experiment_ids": ["0", "1"]}, "runs"),
    ("get", f"{UNITY}/catalogs", {}, "catalogs"),
    ("get", f"{UNITY}/models", {"catalog_name": "workspace", "schema_name": "default"}, "registered_models"),
    ("get", f"{UNITY}/models/workspace.default.m1/versions", {}, "model_versions"),
    ("get", f"{UNITY}/schemas", {"catalog_name": "workspace"}, "schemas"),
    ("get", f"{OWN}/events", {}, "events"),
    ("get", f"{OWN}/models/m1/aliases/a1/history", {}, "moves"),
    ("get", f"{OWN}/models/m1/versions/1/batch-jobs", {}, "batch_jobs"),
    ("get", f"{OWN}/principals", {}, "principals"),
    ("get", f"{OWN}/groups/team/members", {}, "principals"),
    ("get", f"{OWN}/tokens", {}, "tokens"),
]


@pytest.mark.asyncio(loop_scope="module")
async def test_statements_do_not_grow_with_the_page(api: Api) -> None:
    """Every list of the document takes as many statements for fifty items as for two, and few of them."""
    document = await api.ok("GET", f"{OWN}/openapi.json")
    assert {(method, path) for method, path in _paged(document)} == {
        (method, template) for method, path, *_ in LISTS for template in _templates(document, path)
    }
    database = api.app.state.database
    await fill(database)
    points = [{"key": "long", "value": at, "timestamp": at, "step": at} for at in range(60)]
    await api.ok("POST", f"{MLFLOW}/runs/log-batch", {"run_id": RUN_ID, "metrics": points})
    for at in range(12):
        await api.alias("m1", "a1", at % 3 + 1)
    await api.ok("POST", f"{OWN}/principals", {"kind": "group", "name": "team"})
    for name in ("a", "b", "c"):
        await api.ok("POST", f"{OWN}/principals", {"kind": "service", "name": name})
        await api.ok("PUT", f"{OWN}/groups/team/members/{name}")
        await api.ok("POST", f"{OWN}/tokens", {"name": "t", "principal": name})
    with noted(database) as statements:
        for method, path, asked, items in LISTS:
            asked_for, lengths = [], []
            for size in (2, 50):
                query = {**asked, "max_results": size}
                options = {"params": query} if method == "get" else {"body": query}
                tries = []
                # What the server does beside, such as opening a connection, falls into one of them at most.
                for _ in range(2):
                    await statements.take()
                    answer = await api.ok(method.upper(), path, **options)
                    tries.append([statement for statement, _ in await statements.take()])
                lengths.append(len(answer[items]))
                asked_for.append(min(tries, key=len))
            counts = [len(asked) for asked in asked_for]
            assert counts[0] == counts[1] <= MOST, f"{path}: {counts} statements for {lengths} items: {asked_for}"
            if "batch-jobs" not in path:
                assert lengths[0] < lengths[1], f"{path}: {lengths}"


def _paged(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Every operation of the document that can be told how many items to give."""
    shapes = document["components"]["schemas"]
    found = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            names = {one["name"] for one in operation.get("parameters", ())}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                names |= set(shapes.get(content["schema"].get("$ref", "").rsplit("/", 1)[-1], {}).get("properties", ()))
            if "max_results" in names:
                found.append((method, path))
    return found


def _templates(document: dict[str, Any], path: str) -> list[str]:
    """The templates of the document that a path fits, the plainest alone if there is one."""
    fitting = [one for one in document["paths"] if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", one), path)]
    return [path] if path in fitting else fitting
