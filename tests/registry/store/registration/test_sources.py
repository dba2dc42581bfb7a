"""What may become a version, and where it leads: the table of sources, over both databases."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from tests.registry.store_house import MODEL_FILES, House
from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist, TiltyardError
from tiltyard.uri import safe_relative_path
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.models import aliases, model_versions, search, tags
from tiltyard_registry.store.registration.source_text import check_source
from tiltyard_registry.tables.runs import runs

TRAVERSALS = (
    "..",
    "../x",
    "a/../../x",
    "%2e%2e/x",
    "%252e%252e/x",
    "%25252e%25252e%25252fx",
    "..%2fx",
    "..\\x",
    "a\\..\\x",
    "a#x",
    "a?x",
    "a\0x",
    "a%00x",
    "a//b",
    "./a",
    "a/./b",
)
PLACES = (
    *("", "/", "file:/", "file:///", "s3://bucket/", "gs://b/"),
    *("mlflow-artifacts:/", "mlflow-artifacts://h/", "runs:/r/", "models:/", "http://h/", "s3://[", "x:"),
)


@pytest.mark.parametrize("place", PLACES)
def test_no_spelling_leads_out(place: str) -> None:
    """Traversal in any encoding, odd characters and paths that are not in shortest form are refused."""
    for path in TRAVERSALS:
        with pytest.raises(InvalidParameterValue):
            check_source(f"{place}{path}")


@example("\\", "runs:/r/")
@given(st.text(max_size=60), st.sampled_from(PLACES))
def test_a_source_that_passes_stays_where_it_says(text: str, place: str) -> None:
    """Whatever passes has a path that is its own safe form."""
    source = f"{place}{text}"
    try:
        check_source(source)
    except InvalidParameterValue:
        return
    # Of a run's place the id is a part of the path.
    path = source[len("runs:/" if place == "runs:/r/" else place) :].strip("/")
    assert ".." not in path.split("/")
    assert ":" in text or place == "s3://[" or safe_relative_path(path) == path


async def test_a_logged_model_is_a_source_when_it_is_named_twice(house: House) -> None:
    """`models:/m-…` wants the same model_id; an unknown or empty model is refused."""
    await house.ensure("m")
    model_id, prefix = await house.log_model()
    source = f"models:/{model_id}"
    for options in ({}, {"model_id": "m-" + "0" * 32}):
        with pytest.raises((InvalidParameterValue, ResourceDoesNotExist)):
            await house.create_version("m", source, **options)
    version = await house.create_version("m", source, model_id=model_id)
    assert version["location"] == f"mlflow-artifacts:/{prefix}"
    uri = await house.see(model_versions.get_model_version_download_uri, "m", 1)
    assert uri == f"mlflow-artifacts:/{prefix}"
    empty, _ = await house.log_model({})
    with pytest.raises(InvalidParameterValue, match=f"source: 'models:/{empty}'. There are no files at it"):
        await house.create_version("m", f"models:/{empty}", model_id=empty)


async def test_a_copy_shares_everything_and_moves_no_byte(house: House) -> None:
    """`models:/name/version` makes a version of the same files, which stay pinned for both."""
    first = await house.register("a")
    await house.ensure("main.prod.b")
    copy = await house.create_version("main.prod.b", "models:/a/1")
    same = ("storage_location", "manifest_digest", "pinned_prefix", "run_id", "model_id")
    assert [copy[name] for name in same] == [first[name] for name in same]
    assert copy["source"] == "models:/a/1"
    again = await house.create_version("a", "models:/main.prod.b/1", model_id=first["model_id"])
    assert (again["version"], again["manifest_digest"]) == (2, first["manifest_digest"])
    with pytest.raises(ResourceDoesNotExist, match=r"\(name=a, version=9\)"):
        await house.create_version("a", "models:/a/9")
    await house.do(aliases.set_alias, "a", "champion", 1)
    for source in ("models:/a@champion", "models:/a/latest", "models:/a/Production", "models:/a"):
        with pytest.raises(InvalidParameterValue):
            await house.create_version("a", source)
    run_id, _ = await house.run()
    with pytest.raises(InvalidParameterValue, match="'run_id' differs"):
        await house.create_version("a", "models:/a/1", run_id=run_id)
    await house.do(tags.set_tag, "a", None, "mlflow.prompt.is_prompt", "true")
    with pytest.raises(InvalidParameterValue, match="is a prompt"):
        await house.create_version("main.prod.b", "models:/a/1")


async def test_a_path_of_a_run_is_a_source_for_that_run_alone(house: House, tmp_path: Path) -> None:
    """Five spellings of one directory lead to the same place; none of them leads to another run's."""
    await house.ensure("m")
    run_id, root = await house.run()
    other, other_root = await house.run()
    await house.upload_all(f"{root}/model")
    await house.upload_all(f"{other_root}/model")
    local = tmp_path / "artifacts" / root / "model"
    spellings = (
        f"runs:/{run_id}/model",
        f"mlflow-artifacts:/{root}/model",
        f"mlflow-artifacts://host:5000/{root}/model",
        f"http://registry:5000/api/2.0/mlflow-artifacts/artifacts/{root}/model",
        str(local),
        local.as_uri(),
    )
    for source in spellings:
        version = await house.create_version("m", source, run_id=run_id)
        assert (version["pinned_prefix"], version["external"]) == (f"{root}/model", False)
        uri = await house.see(model_versions.get_model_version_download_uri, "m", version["version"])
        assert uri == source
        for wrong in (other, None, "0" * 32):
            with pytest.raises((InvalidParameterValue, ResourceDoesNotExist)):
                await house.create_version("m", source, run_id=wrong)
    for source in (
        f"runs:/{run_id}/empty",
        f"mlflow-artifacts:/{root}/model/../../..",
        f"mlflow-artifacts:/{root}x/model",
        "mlflow-artifacts:/",
        "mlflow-artifacts:/0",
        "http://registry:5000/api/2.0/mlflow-artifacts/artifacts/0",
        str(tmp_path),
        "/etc",
        "file:///etc/passwd",
        "model",
        "javascript:alert(1)",
        "data:text/plain,x",
        "C:\\models",
        "runs:/",
        "models:/",
    ):
        with pytest.raises(InvalidParameterValue):
            await house.create_version("m", source, run_id=run_id)
    assert len(await house.see(search.list_model_versions, "m", limit=99)) == len(spellings)


async def test_a_model_named_by_its_run_is_found_beside_the_run(house: House) -> None:
    """`runs:/id/name` of a logged model leads to that model, for clients that know no other way."""
    await house.ensure("m")
    run_id, _ = await house.run()
    model_id, prefix = await house.log_model(name="clf", run_id=run_id)
    version = await house.create_version("m", f"runs:/{run_id}/clf", run_id=run_id)
    assert (version["model_id"], version["pinned_prefix"]) == (model_id, prefix)


async def test_what_lies_elsewhere_is_external_and_nobody_vouches_for_it(house: House) -> None:
    """Other object stores are recorded as they came; their run is not looked for."""
    await house.ensure("m")
    for source in ("s3://bucket/model", "abfss://c@a.dfs.core.windows.net/m", "dbfs:/model", "https://host/model"):
        version = await house.create_version("m", source, run_id="unknown")
        assert (version["external"], version["manifest_digest"], version["location"]) == (True, None, source)
        assert version["status"] == "READY"


async def test_a_run_that_keeps_its_artifacts_elsewhere_makes_external_versions(house: House, tmp_path: Path) -> None:
    """A directory that is the run's but not ours is accepted and not read."""
    await house.ensure("m")
    run_id, _ = await house.run()
    elsewhere = tmp_path / "elsewhere"
    async with house.database.write() as session:
        await session.execute(update(runs).where(runs.c.run_id == run_id).values(artifact_uri=elsewhere.as_uri()))
    version = await house.create_version("m", f"{elsewhere}/model", run_id=run_id)
    assert (version["external"], version["location"]) == (True, f"{elsewhere}/model")
    with pytest.raises(InvalidParameterValue):
        await house.create_version("m", f"{elsewhere}x/model", run_id=run_id)


async def test_an_object_store_uri_inside_our_root_is_ours(database_url: str, s3_uri: str) -> None:
    """Files that a client wrote to our bucket itself are hashed and pinned; a prefix of many models is not."""
    house = House(database_url, f"{s3_uri}/root")
    await house.ensure("m")
    for path, body in MODEL_FILES.items():
        async with house.artifacts.store.open_writer(f"teams/risk/{path}") as writer:
            await writer.write(body)
            await writer.seal()
            await writer.commit()
    version = await house.create_version("m", f"{s3_uri}/root/teams/risk")
    assert (version["pinned_prefix"], version["external"], version["status"]) == ("teams/risk", False, "READY")
    same = await house.create_version("m", f"{s3_uri.replace('s3:', 's3a:')}/root/teams/risk")
    assert same["manifest_digest"] == version["manifest_digest"] != None  # noqa: E711
    for shallow in (f"{s3_uri}/root", f"{s3_uri}/root/teams", f"{s3_uri}/root/0"):
        with pytest.raises(InvalidParameterValue, match="more than one model"):
            await house.create_version("m", shallow)
    assert (await house.create_version("m", f"{s3_uri}/rootless/x"))["external"]
    await house.database.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30), place=st.sampled_from(PLACES))
async def test_any_text_is_a_version_or_a_plain_refusal(sqlite_url: str, tmp_path: Path, text: str, place: str) -> None:
    """No source makes anything but a version or an error that names the caller's mistake."""
    house = House(sqlite_url, str(tmp_path / "artifacts"))
    await house.ensure("m")
    try:
        version = await house.create_version("m", f"{place}{text}")
    except TiltyardError as error:
        assert error.code in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}
    else:
        assert version["external"]
    finally:
        await house.database.close()


@pytest.mark.parametrize("root", ["/data/artifacts", "file:///data/artifacts", "s3://bucket/a/b", "memory://x"])
def test_a_place_is_below_the_root_or_it_is_not(root: str) -> None:
    """Neighbours that share the root's spelling are elsewhere."""
    artifacts = ArtifactRoot(None, root)  # type: ignore[arg-type]  # no file is touched
    assert artifacts.prefix_of(f"{root}/x/y") == "x/y"
    assert artifacts.prefix_of(root) == ""
    assert artifacts.prefix_of(f"{root}x/y") is None
    assert artifacts.prefix_of("s3://other/x") is None
    assert artifacts.prefix_of("/elsewhere/x") is None
    assert artifacts.prefix_of("mlflow-artifacts:/0/r/artifacts") == "0/r/artifacts"
    assert artifacts.prefix_of("mlflow-artifacts://host:5000/0/r") == "0/r"
