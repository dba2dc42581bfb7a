"""Requests that schemathesis makes from the OpenAPI document of the scoring service."""

import json

import pytest

from tests.fixtures.openapi import attack
from tests.fixtures.services import Service
from tests.serving.http_calls import request
from tests.serving.saved_models import MODELS

DOCUMENT = "/api/tiltyard/v1/schema/openapi.json"
SCORING = [
    "/invocations",
    "/model/{name}/{selector}/invocations",
    "/serving-endpoints/{name}/invocations",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/ready",
]


def test_the_document_tells_of_the_scoring_protocols(server: Service) -> None:
    """Every scoring path is in the document, says what it takes, and is served."""
    document = json.loads(request(server.port, "GET", DOCUMENT).body)
    assert set(SCORING) <= set(document["paths"])
    body = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    assert {"application/json", "text/csv", "application/vnd.apache.parquet"} <= set(body)
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(names) == len(set(names))
    for path in document["paths"]:
        known = path.replace("{name}", "default").replace("{selector}", "1").replace("{version}", "1")
        answer = request(server.port, "GET", known)
        assert answer.status in (200, 405) or "/1" in known, path


@pytest.mark.parametrize("each", [6, pytest.param(400, marks=pytest.mark.bench)])
def test_no_generated_request_is_a_server_error(server: Service, each: int) -> None:
    """Requests that fit the document, and requests that do not, are answered or refused, never with a 5xx."""
    document = json.loads(request(server.port, "GET", DOCUMENT).body)
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "name":
                    parameter["schema"] = {"anyOf": [{"enum": sorted(set(MODELS) - {"obedient"})}, {"type": "string"}]}
    statuses = attack(server.url, document, each=each)
    print(f"\n{sum(statuses.values()):,} requests from the document: {dict(sorted(statuses.items()))}")
    assert statuses[200] and statuses[400] and statuses[404]
    assert server.healthy()
