"""Presigned URLs by run: refused where artifacts pass through the registry, as upstream refuses them."""

from typing import Any

import pytest

from tests.registry.api_app import MLFLOW, Api


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("what", ["upload", "download"])
async def test_a_proxied_run_or_model_has_no_url_of_its_own(api: Api, what: str) -> None:
    """A 400 with upstream's words, once it is clear that the run or the model exists; else what is wrong is named."""
    path = f"{MLFLOW}/artifacts/presigned-{what}-url"
    run = (await api.ok("POST", f"{MLFLOW}/runs/create", {"experiment_id": "0"}))["run"]["info"]["run_id"]
    model = (await api.ok("POST", f"{MLFLOW}/logged-models", {"experiment_id": "0"}))["model"]["info"]["model_id"]
    for owner in ({"run_id": run}, {"model_id": model}):
        status, _, message = await api.refused("POST", path, {**owner, "path": "a/b", "expiration": 60})
        assert status == 400
        assert message.startswith(f"Presigned {what} is not supported for proxied artifact storage")
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"path": "a"}, 400),
        ({"path": "a", "run_id": run, "model_id": model}, 400),
        ({"run_id": run}, 400),
        ({"run_id": run, "path": "../a"}, 400),
        ({"run_id": "nobody", "path": "a"}, 404),
        ({"model_id": "m-nobody", "path": "a"}, 404),
    ]
    for body, expected in wrong:
        assert (await api.refused("POST", path, body))[0] == expected
