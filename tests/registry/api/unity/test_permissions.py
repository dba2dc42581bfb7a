"""Unity Catalog's permissions: its shapes, its words, and those of Databricks."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.databases import BACKENDS, migrated_sqlite
from tests.registry.api_app import OWN, UNITY, Api, opened

SDK = {"headers": {"user-agent": "databricks-sdk-py/0.156.0 python/3.11"}}
MODEL = "permissions/registered_model/main.ml.iris"


@pytest_asyncio.fixture(params=BACKENDS)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    """A registry with the model `main.ml.iris`, the user `ann` and the group `team`, in which she is."""
    settings: dict[str, Any] = {}
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("emptied_postgres_url")()
    else:
        migrated_sqlite(tmp_path / "tiltyard.db")
    async with opened(tmp_path, **settings) as api:
        await api.model("main.ml.iris")
        for kind, name in (("user", "ann"), ("group", "team")):
            await api.ok("POST", f"{OWN}/principals", {"kind": kind, "name": name})
        await api.ok("PUT", f"{OWN}/groups/team/members/ann")
        yield api


async def _change(api: Api, path: str, *changes: dict[str, Any], **options: Any) -> Any:
    return await api.ok("PATCH", f"{UNITY}/{path}", {"changes": list(changes)}, **options)


async def test_both_spellings_are_read_and_each_client_is_answered_in_its_own(api: Api) -> None:
    """With blanks and without what Unity Catalog OSS does not know; with underscores and all to Databricks' client."""
    added = ["USE CATALOG", "USE_SCHEMA", "create_model", "EXECUTE", "SET_ALIAS", "MANAGE"]
    told = await _change(api, "permissions/catalog/main", {"principal": "ann", "add": added})
    plain = ["USE CATALOG", "USE SCHEMA", "CREATE MODEL", "EXECUTE"]
    assert told == {"privilege_assignments": [{"principal": "ann", "privileges": plain}]}
    assert await api.ok("GET", f"{UNITY}/permissions/catalog/main") == told
    (assignment,) = (await api.ok("GET", f"{UNITY}/permissions/CATALOG/main", **SDK))["privilege_assignments"]
    assert set(assignment["privileges"]) == {one.upper().replace(" ", "_") for one in added}
    told = await _change(api, "permissions/catalog/main", {"principal": "ann", "remove": plain})
    assert told == {"privilege_assignments": []}


async def test_a_model_goes_by_three_types_and_one_principal_can_be_asked_for(api: Api) -> None:
    """`function` is what Databricks' client says of a model."""
    changes = [{"principal": name, "add": ["EXECUTE"]} for name in ("ann", "team")]
    told = await _change(api, MODEL, *changes)
    assert [one["principal"] for one in told["privilege_assignments"]] == ["ann", "team"]
    for kind in ("registered_model", "function", "model", "FUNCTION"):
        found = await api.ok("GET", f"{UNITY}/permissions/{kind}/main.ml.iris", params={"principal": "team"})
        assert found == {"privilege_assignments": [{"principal": "team", "privileges": ["EXECUTE"]}]}


async def test_what_counts_is_told_with_where_it_comes_from(api: Api) -> None:
    """What was granted on the securable itself names no other; what was granted above does."""
    await _change(api, MODEL, {"principal": "ann", "add": ["EXECUTE"]})
    await _change(api, "permissions/schema/main.ml", {"principal": "team", "add": ["USE SCHEMA"]})
    await _change(api, "permissions/metastore/metastore", {"principal": "team", "add": ["CREATE CATALOG"]})
    told = await api.ok("GET", f"{UNITY}/effective-{MODEL}", params={"principal": "ann"})
    above = {"inherited_from_type": "SCHEMA", "inherited_from_name": "main.ml"}
    root = {"inherited_from_type": "METASTORE", "inherited_from_name": "metastore"}
    assert told == {
        "privilege_assignments": [
            {"principal": "ann", "privileges": [{"privilege": "EXECUTE"}]},
            {
                "principal": "team",
                "privileges": [{"privilege": "USE SCHEMA", **above}, {"privilege": "CREATE CATALOG", **root}],
            },
        ]
    }


@pytest.mark.parametrize(
    ("path", "change", "status", "code"),
    [
        (MODEL, {"principal": "ann", "add": ["SELECT"]}, 400, "INVALID_ARGUMENT"),
        (MODEL, {"principal": "nobody", "add": ["EXECUTE"]}, 404, "NOT_FOUND"),
        ("permissions/table/main.ml.iris", {"principal": "ann", "add": ["EXECUTE"]}, 400, "INVALID_ARGUMENT"),
        ("permissions/schema/main.gone", {"principal": "ann", "add": ["EXECUTE"]}, 404, "NOT_FOUND"),
    ],
)
async def test_a_refusal_has_its_shape(api: Api, path: str, change: dict[str, Any], status: int, code: str) -> None:
    """And nothing of the other changes in the body is done."""
    body = {"changes": [{"principal": "team", "add": ["EXECUTE"]}, change]}
    assert (await api.refused("PATCH", f"{UNITY}/{path}", body))[:2] == (status, code)
    assert await api.ok("GET", f"{UNITY}/{MODEL}") == {"privilege_assignments": []}
