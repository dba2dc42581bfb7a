"""Prompts among the models: versions with a text and no files, found as prompts and never loaded or served."""

import pytest

from tests.registry.store_house import House
from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.prompts import PROMPT_TAG
from tiltyard_registry.store.models import registered_models, resolution, search, tags
from tiltyard_registry.store.sql.session import Row

MARK = {"key": PROMPT_TAG, "value": "true"}
TEXT = {"key": "mlflow.prompt.text", "value": "Hello {{who}}"}


async def _prompt(house: House, name: str = "greeting", source: str = "dummy-source") -> Row:
    """A new version of a prompt, whose model is there."""
    return await house.create_version(name, source, tags=[MARK, TEXT])


async def _found(house: House, filter: str | None = None) -> list[tuple[str, int]]:
    rows, _ = await house.see(search.search_model_versions, filter)
    return sorted((row["name"], row["version"]) for row in rows)


@pytest.mark.parametrize("source", ["dummy-source", "prompt-template"])
async def test_a_version_with_the_prompt_tag_needs_no_files(house: House, source: str) -> None:
    """What the stock client gives as the source of a prompt is kept; any other text is refused."""
    await house.do(registered_models.create_registered_model, "greeting", tags=[MARK])
    made = await _prompt(house, source=source)
    assert (made["version"], made["status"], made["source"]) == (1, "READY", source)
    for other in ("/etc", "s3://bucket/x", "models:/greeting/1", "dummy"):
        with pytest.raises(InvalidParameterValue, match="Invalid prompt source"):
            await _prompt(house, source=other)
    with pytest.raises(InvalidParameterValue, match="Invalid model version source"):
        await house.create_version("greeting", source)
    assert (await _prompt(house))["version"] == 2


async def test_a_prompt_is_never_resolved(house: House) -> None:
    """Whoever would load or serve one is told that it is a prompt, also when its tags are gone; none is copied."""
    await house.ensure("greeting")
    await _prompt(house)
    await house.external("mixed")
    await house.do(tags.set_tag, "mixed", 1, PROMPT_TAG, "true")
    for uri in ("models:/greeting/1", "models:/greeting/latest", "models:/mixed/1"):
        (answer,) = await house.see(resolution.resolve, [uri])
        assert answer["error_code"] == "INVALID_PARAMETER_VALUE" and "is a prompt, not a model" in answer["message"]
    await house.do(tags.set_tag, "greeting", 1, PROMPT_TAG, None)
    (answer,) = await house.see(resolution.resolve, ["models:/greeting/1"])
    assert "is a prompt" in answer["message"]
    with pytest.raises(InvalidParameterValue, match="is a prompt"):
        await house.create_version("mixed", "models:/greeting/1")


async def test_one_prompt_among_versions_hides_no_other(house: House) -> None:
    """A search of versions leaves out those that carry the prompt tag themselves, and only those."""
    await house.external("mixed", 3)
    await house.do(tags.set_tag, "mixed", 2, PROMPT_TAG, "true")
    assert await _found(house) == [("mixed", 1), ("mixed", 3)]
    assert await _found(house, f"tag.`{PROMPT_TAG}` != 'true'") == [("mixed", 1), ("mixed", 3)]
    assert await _found(house, f"tag.`{PROMPT_TAG}` = 'true'") == [("mixed", 2)]
