"""Prompts by the stock client: registered, tagged, aliased, loaded, found and deleted, and apart from the models."""

from types import ModuleType
from typing import Any

import pytest

from tiltyard.errors import TiltyardError


def test_prompts_are_registered_and_loaded(mlflow: ModuleType, client: Any, unique: str) -> None:
    """Versions, aliases and tags of prompts work as on the plain server; a search of models does not show them."""
    name = unique
    first = mlflow.genai.register_prompt(name, "Hello {{who}}", tags={"team": "a"})
    chat = [{"role": "user", "content": "Hi {{who}}"}]
    second = mlflow.genai.register_prompt(name, chat, commit_message="as a chat")
    assert (first.version, second.version) == (1, 2)
    mlflow.genai.set_prompt_alias(name, "live", 2)
    assert mlflow.genai.load_prompt(f"prompts:/{name}@live").format(who="you") == [
        {"role": "user", "content": "Hi you"}
    ]
    assert mlflow.genai.load_prompt(f"prompts:/{name}/1").template == "Hello {{who}}"
    assert mlflow.genai.load_prompt(name).version == 2
    mlflow.genai.set_prompt_version_tag(name, 1, "checked", "yes")
    assert client.get_prompt_version(name, 1).tags["checked"] == "yes"
    assert name in {prompt.name for prompt in mlflow.genai.search_prompts(max_results=1000)}
    assert name not in {model.name for model in mlflow.search_registered_models()}
    assert client.search_model_versions(f"name = '{name}'") == []
    mlflow.genai.delete_prompt_alias(name, "live")
    assert mlflow.genai.load_prompt(f"prompts:/{name}@live", allow_missing=True) is None


def test_a_prompt_is_no_model_to_load(mlflow: ModuleType, unique: str) -> None:
    """`tiltyard.load_model` of a prompt says what it is, and how it is read."""
    import tiltyard

    mlflow.genai.register_prompt(unique, "Hello {{who}}")
    with pytest.raises(TiltyardError, match=r"is a prompt, not a model.*mlflow\.genai\.load_prompt"):
        tiltyard.load_model(f"models:/{unique}/1", registry_url=mlflow.get_registry_uri())
