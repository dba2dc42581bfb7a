"""Every endpoint of the protocol's tracking part has a route, under both of its prefixes."""

import pytest

from tests.registry.api_app import Api

# Below /api and /ajax-api. MLflow has some of them under one prefix alone; here both lead to the same place.
ENDPOINTS = """
GET     3.0/mlflow/server-info
POST    2.0/mlflow/experiments/create
GET     2.0/mlflow/experiments/get-by-name
GET     2.0/mlflow/experiments/get
POST    2.0/mlflow/experiments/search
GET     2.0/mlflow/experiments/search
POST    2.0/mlflow/experiments/delete
POST    2.0/mlflow/experiments/restore
POST    2.0/mlflow/experiments/update
POST    2.0/mlflow/experiments/set-experiment-tag
POST    2.0/mlflow/experiments/delete-experiment-tag
POST    2.0/mlflow/experiments/search-datasets
POST    2.0/mlflow/runs/create
GET     2.0/mlflow/runs/get
POST    2.0/mlflow/runs/update
POST    2.0/mlflow/runs/search
POST    2.0/mlflow/runs/delete
POST    2.0/mlflow/runs/restore
POST    2.0/mlflow/runs/log-metric
POST    2.0/mlflow/runs/log-parameter
POST    2.0/mlflow/runs/log-batch
POST    2.0/mlflow/runs/set-tag
POST    2.0/mlflow/runs/delete-tag
POST    2.0/mlflow/runs/log-inputs
POST    2.0/mlflow/runs/outputs
POST    2.0/mlflow/runs/log-model
POST    2.0/mlflow/databricks/runs/delete-runs
POST    2.0/mlflow/databricks/runs/restore-runs
GET     2.0/mlflow/metrics/get-history
GET     2.0/mlflow/metrics/get-history-bulk
GET     2.0/mlflow/metrics/get-history-bulk-interval
GET     2.0/mlflow-artifacts/artifacts
GET     2.0/mlflow-artifacts/artifacts/p
PUT     2.0/mlflow-artifacts/artifacts/p
DELETE  2.0/mlflow-artifacts/artifacts/p
POST    2.0/mlflow-artifacts/mpu/create/p
POST    2.0/mlflow-artifacts/mpu/complete/p
POST    2.0/mlflow-artifacts/mpu/abort/p
GET     2.0/mlflow-artifacts/presigned/p
GET     2.0/mlflow/artifacts/list
POST    2.0/mlflow/artifacts/presigned-upload-url
POST    2.0/mlflow/artifacts/presigned-download-url
POST    2.0/mlflow/upload-artifact
POST    2.0/mlflow/logged-models
GET     2.0/mlflow/logged-models/m
PATCH   2.0/mlflow/logged-models/m
DELETE  2.0/mlflow/logged-models/m
POST    2.0/mlflow/logged-models/search
PATCH   2.0/mlflow/logged-models/m/tags
DELETE  2.0/mlflow/logged-models/m/tags/k
POST    2.0/mlflow/logged-models/m/params
GET     2.0/mlflow/logged-models/m/artifacts/directories
GET     2.0/mlflow/logged-models/m/artifacts/files
"""
AT_THE_ROOT = ("/health", "/version", "/get-artifact", "/model-versions/get-artifact")


@pytest.mark.asyncio(loop_scope="module")
async def test_every_endpoint_has_a_route_under_both_prefixes(api: Api) -> None:
    """An empty request is answered by the endpoint, with whatever it misses, and not by the lack of one."""
    absent = []
    for line in ENDPOINTS.strip().splitlines():
        method, path = line.split()
        for prefix in ("/api/", "/ajax-api/"):
            body = None if method in ("GET", "PUT") else {}
            answer = await api.ask(method, prefix + path, body)
            if answer.status_code == 405 or "ENDPOINT_NOT_FOUND" in answer.text:
                absent.append(f"{method} {prefix}{path}")
            assert answer.status_code < 500 or answer.status_code == 501, (line, answer.text)
    for path in AT_THE_ROOT:
        if "ENDPOINT_NOT_FOUND" in (await api.ask("GET", path)).text:
            absent.append(path)
    assert absent == []


@pytest.mark.asyncio(loop_scope="module")
async def test_workspaces_are_refused_at_once(api: Api) -> None:
    """404, which clients show, and not a 503, which they repeat for minutes."""
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/w")):
        answer = await api.ask(method, f"/api/3.0/mlflow/workspaces{path}", None if method == "GET" else {})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
