"""What one call may bring or take, what its events remember, and what a stranger may not learn."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.registry.api_app import MLFLOW, MODELS, OWN, VERSIONS, Api, opened
from tests.registry.store_house import House
from tiltyard_registry.store.models import search

in_one_loop = pytest.mark.asyncio(loop_scope="module")
INVALID = (400, "INVALID_PARAMETER_VALUE")


def _pairs(count: int) -> list[dict[str, str]]:
    return [{"key": f"k{number}", "value": "v"} for number in range(count)]


async def _told(api: Api, name: str, action: str) -> list[dict[str, Any]]:
    events = (await api.ok("GET", f"{OWN}/events", params={"name": name, "max_results": 100}))["events"]
    return [event for event in events if event["action"] == action]


@in_one_loop
async def test_one_call_brings_a_bounded_number_of_tags(api: Api) -> None:
    """Whatever creates something takes a thousand tags or params, and names the limit when there are more."""
    await api.model("bounded")
    calls: list[tuple[str, dict[str, Any], str]] = [
        (f"{MLFLOW}/runs/create", {"experiment_id": "0"}, "tags"),
        (f"{MLFLOW}/experiments/create", {"name": "bounded"}, "tags"),
        (f"{MODELS}/create", {"name": "bounded too"}, "tags"),
        (f"{VERSIONS}/create", {"name": "bounded", "source": "s3://elsewhere/1"}, "tags"),
        (f"{MLFLOW}/logged-models", {"experiment_id": "0"}, "tags"),
        (f"{MLFLOW}/logged-models", {"experiment_id": "0"}, "params"),
    ]
    for path, body, noun in calls:
        status, code, message = await api.refused("POST", path, body | {noun: _pairs(1001)})
        assert (status, code) == INVALID and f"'{noun}'" in message and "1000" in message and "1001" in message
        await api.ok("POST", path, body | {noun: _pairs(1000)})


async def test_the_bound_can_be_set(tmp_path: Path) -> None:
    """An operator may allow more, or less."""
    async with opened(tmp_path, max_request_entries=3) as api:
        assert (await api.refused("POST", f"{MODELS}/create", {"name": "m", "tags": _pairs(4)}))[:2] == INVALID
        await api.ok("POST", f"{MODELS}/create", {"name": "m", "tags": _pairs(3)})


async def test_a_page_of_versions_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many versions are asked for, a page holds so many, and a token leads to the others."""
    monkeypatch.setattr(search, "PAGE_VERSIONS", 2)
    await house.external("m", 3)
    rows, token = await house.see(search.search_model_versions, max_results=200_000)
    assert len(rows) == 2 and token
    rest, token = await house.see(search.search_model_versions, max_results=200_000, page_token=token)
    assert len(rest) == 1 and token is None


@in_one_loop
async def test_the_reason_of_a_transition_is_in_its_event(api: Api) -> None:
    """A `comment` that comes with a change of stage is kept where the change is."""
    await api.model("staged", versions=1)
    body = {"name": "staged", "version": "1", "stage": "Production", "comment": "passed the review"}
    await api.ok("POST", f"{VERSIONS}/transition-stage", body)
    (event,) = await _told(api, "staged", "transition_model_version_stage")
    assert event["after"] == {"current_stage": "Production", "comment": "passed the review"}
    assert (await api.refused("POST", f"{VERSIONS}/transition-stage", body | {"comment": "x" * 70_000}))[:2] == INVALID


@in_one_loop
async def test_a_version_with_an_alias_is_deleted_by_who_means_it(api: Api) -> None:
    """Our own API refuses unless forced; MLflow's deletes. The event says which aliases went."""
    await api.model("named", versions=2)
    for version in (1, 2):
        await api.alias("named", f"live{version}", version)
    path = f"{OWN}/models/named/versions/1"
    status, code, message = await api.refused("DELETE", path)
    assert (status, code) == (409, "RESOURCE_CONFLICT") and "'live1'" in message
    await api.ok("DELETE", f"{path}?force=true")
    await api.ok("DELETE", f"{VERSIONS}/delete", {"name": "named", "version": "2"})
    told = await _told(api, "named", "delete_model_version")
    assert [event["before"]["aliases"] for event in told] == [["live2"], ["live1"]]
    assert (await api.ok("GET", f"{OWN}/models/named/aliases"))["aliases"] == []


@in_one_loop
async def test_a_table_holds_no_formulas(api: Api) -> None:
    """Texts that a spreadsheet would run come with an apostrophe; numbers, negative ones too, stay numbers."""
    body = {"name": "formulas"}
    experiment = (await api.ok("POST", f"{MLFLOW}/experiments/create", body))["experiment_id"]
    texts = {
        "a": "=1+1",
        "b": "+cmd|' /C calc'!A0",
        "c": "@SUM(1)",
        "d": "-2+3",
        "e": "-0.5",
        "f": "plain",
        "g": "\t=1",
    }
    run = await api.ok("POST", f"{MLFLOW}/runs/create", {"experiment_id": experiment, "run_name": "=HYPERLINK(1)"})
    params = [{"key": key, "value": value} for key, value in texts.items()]
    await api.ok("POST", f"{MLFLOW}/runs/log-batch", {"run_id": run["run"]["info"]["run_id"], "params": params})
    answer = await api.ask("GET", f"{OWN}/runs.csv", params={"experiment_id": experiment})
    _, row = csv.reader(io.StringIO(answer.text, newline=""))
    assert row[1] == "'=HYPERLINK(1)"
    shown = ["'=1+1", "'+cmd|' /C calc'!A0", "'@SUM(1)", "'-2+3", "-0.5", "plain", "'\t=1"]
    assert row[6:] == shown


@in_one_loop
async def test_a_number_need_not_be_quoted(api: Api) -> None:
    """`params.k = 0.5` compares with the text of the number, as the managed service does; other texts need quotes."""
    experiment = (await api.ok("POST", f"{MLFLOW}/experiments/create", {"name": "numbers"}))["experiment_id"]
    run = (await api.ok("POST", f"{MLFLOW}/runs/create", {"experiment_id": experiment}))["run"]["info"]["run_id"]
    batch = {"run_id": run, "params": [{"key": "ratio", "value": "0.5"}], "tags": [{"key": "size", "value": "5"}]}
    await api.ok("POST", f"{MLFLOW}/runs/log-batch", batch)
    for filter, found in (
        ("params.ratio = 0.5", 1),
        ("params.ratio = 0.50", 0),
        ("params.ratio != 0.5", 0),
        ("tags.size = 5 AND params.ratio = '0.5'", 1),
        ("tags.size = 6", 0),
    ):
        answer = await api.ok("POST", f"{MLFLOW}/runs/search", {"experiment_ids": [experiment], "filter": filter})
        assert len(answer["runs"]) == found, filter
    for filter in ("params.ratio LIKE 5", "params.ratio > 0.5", "attributes.run_name = 5"):
        asked = {"experiment_ids": [experiment], "filter": filter}
        assert (await api.refused("POST", f"{MLFLOW}/runs/search", asked))[:2] == INVALID
