"""Requests that schemathesis makes from the OpenAPI document of the registry."""

import json
from pathlib import Path

import pytest

from tests.fixtures.openapi import attack
from tests.fixtures.services import StartService
from tests.serving.http_calls import request


@pytest.mark.parametrize("each", [2, pytest.param(150, marks=pytest.mark.bench)])
def test_no_generated_request_is_a_server_error(registry: StartService, tmp_path: Path, each: int) -> None:
    """Requests that fit the document, and requests that do not, are answered or refused, never with a 5xx."""
    service = registry()
    document = json.loads(request(service.port, "GET", "/api/tiltyard/v1/openapi.json").body)
    statuses = attack(service.url, document, each=each)
    print(f"\n{sum(statuses.values()):,} requests from the document: {dict(sorted(statuses.items()))}")
    assert statuses[200] and statuses[400] and statuses[404]
    assert service.healthy()
