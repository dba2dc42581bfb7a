"""What a prompt is: a registered model and versions of it with a tag, a text in another tag, and no files.

Source: mlflow/prompt/constants.py; mlflow/server/handlers.py, `_is_prompt_request`, `_validate_prompt_source`;
tag v3.17.2.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tiltyard.errors import InvalidParameterValue

PROMPT_TAG = "mlflow.prompt.is_prompt"
LOCATION = "prompt:/"
"""Where the files of a prompt's version lie: nowhere. No reader has such a scheme."""

# What the stock client gives as the source of something without files.
_PLACEHOLDERS = frozenset({"dummy-source", "prompt-template"})


def is_prompt(tags: Mapping[str, str]) -> bool:
    """Whether these tags make what carries them a prompt."""
    return tags.get(PROMPT_TAG, "").lower() == "true"


def is_prompt_version(storage_location: str, tags: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a stored version is a prompt: it was made as one, or a tag says so since."""
    return storage_location == LOCATION or is_prompt({tag["key"]: tag["value"] for tag in tags})


def check_source(source: str) -> str:
    """`source` if a prompt's version may have it.

    Raises:
        InvalidParameterValue: it is none of the texts that stand for no files.
    """
    if source not in _PLACEHOLDERS:
        raise InvalidParameterValue(
            f"Invalid prompt source: '{source[:300]}'. A prompt has no files: expected one of "
            f"{', '.join(repr(one) for one in sorted(_PLACEHOLDERS))}."
        )
    return source


def refusal(name: str, version: int) -> InvalidParameterValue:
    """What is said to whoever would load or serve a prompt."""
    return InvalidParameterValue(
        f"Version {version} of '{name}' is a prompt, not a model: it can be neither loaded nor served as one. Read it "
        f"with mlflow.genai.load_prompt('prompts:/{name}/{version}')."
    )
