"""The MLmodel file: what a model directory holds and how it is loaded.

Every key is kept as it was read, known or not; the properties give the known ones their types.

Source: mlflow/models/model.py (Model) at v3.17.2.
"""

import datetime as dt
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tiltyard.errors import BadRequest, InvalidParameterValue, ModelUnreadable, ResourceDoesNotExist
from tiltyard.model_yaml import MAX_FILE_BYTES, read_yaml
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.uri import contain

FILE_NAME = "MLmodel"
PYFUNC = "python_function"

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class MLModel:
    """One MLmodel file; `fields` is its whole content."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    @classmethod
    def new(cls, *, mlflow_version: str) -> "MLModel":
        """The description of a model that is about to be saved: a fresh uuid, the time, no flavors."""
        return cls(
            {
                "flavors": {},
                "mlflow_version": mlflow_version,
                "model_id": None,
                "model_uuid": uuid.uuid4().hex,
                "prompts": None,
                "utc_time_created": str(dt.datetime.now(dt.UTC).replace(tzinfo=None)),
            }
        )

    @classmethod
    def from_yaml(cls, text: str | bytes) -> "MLModel":
        """The MLmodel that `text` spells.

        Raises:
            InvalidParameterValue: not YAML of plain values within the bounds of `model_yaml`, or not a mapping.
        """
        fields = read_yaml(text, file_name=FILE_NAME)
        if not isinstance(fields, dict):
            raise InvalidParameterValue("The MLmodel file must hold a mapping.")
        return cls(fields)

    @classmethod
    def load(cls, directory: Path) -> "MLModel":
        """The MLmodel of a model directory.

        Raises:
            ResourceDoesNotExist: the directory has none.
            InvalidParameterValue: it cannot be read as one; ModelUnreadable if it cannot be read at all.
        """
        path = directory / FILE_NAME
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise InvalidParameterValue(f"The file {FILE_NAME} is larger than {MAX_FILE_BYTES} bytes.")
            return cls.from_yaml(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise ResourceDoesNotExist("Could not find an 'MLmodel' configuration file in the model.") from None
        except OSError as error:
            raise ModelUnreadable(f"The file {FILE_NAME} cannot be read ({type(error).__name__}).") from error

    def to_yaml(self) -> str:
        """The file's text, keys sorted, as upstream writes it."""
        return str(yaml.dump(self.fields, Dumper=_Dumper, default_flow_style=False, allow_unicode=True))

    def save(self, directory: Path) -> None:
        """Writes the file into `directory`."""
        (directory / FILE_NAME).write_text(self.to_yaml(), encoding="utf-8")

    @property
    def flavors(self) -> dict[str, dict[str, Any]]:
        """Flavor name to its settings."""
        flavors = self.fields.get("flavors")
        if not isinstance(flavors, dict):
            return {}
        return {str(name): settings for name, settings in flavors.items() if isinstance(settings, dict)}

    @property
    def pyfunc(self) -> dict[str, Any]:
        """The settings of the python_function flavor.

        Raises:
            BadRequest: the model is external: it has no files.
            ResourceDoesNotExist: the model lacks that flavor.
            InvalidParameterValue: the flavor names no loader module.
        """
        if self.metadata.get("mlflow.model.isExternal"):
            raise BadRequest("This model is external: it is recorded without files and cannot be loaded.")
        settings = self.flavors.get(PYFUNC)
        if settings is None:
            raise ResourceDoesNotExist(f"Model does not have the '{PYFUNC}' flavor.")
        if not isinstance(settings.get("loader_module"), str):
            raise InvalidParameterValue(f"The '{PYFUNC}' flavor of the MLmodel file names no 'loader_module'.")
        return settings

    @cached_property
    def signature(self) -> Signature | None:
        """The signature, or None. Raises: InvalidParameterValue if it is not well-formed."""
        entry = self.fields.get("signature")
        if entry is None:
            return None
        return Signature.from_dict(
            entry,
            from_type_hint=bool(self.fields.get("is_signature_from_type_hint")),
            type_hint_from_example=bool(self.fields.get("type_hint_from_example")),
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """The author's free metadata; empty if none."""
        metadata = self.fields.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def saved_input_example_info(self) -> dict[str, Any]:
        """Where the input example is and of what kind; empty if there is none."""
        info = self.fields.get("saved_input_example_info")
        return info if isinstance(info, dict) else {}

    @property
    def input_example_path(self) -> str | None:
        """The input example's path within the model directory."""
        return self._text(self.saved_input_example_info.get("artifact_path"))

    @property
    def run_id(self) -> str | None:
        """The run that logged the model."""
        return self._text(self.fields.get("run_id"))

    @property
    def model_id(self) -> str | None:
        """The logged model's id, `m-…`; None for a model that was only saved."""
        return self._text(self.fields.get("model_id"))

    @staticmethod
    def _text(value: Any) -> str | None:
        return None if value is None else str(value)


def model_file(directory: Path, name: Any, *, parameter: str = "data") -> Path:
    """The file that an entry of the MLmodel file names as `parameter`.

    Raises:
        InvalidParameterValue: it names none, or one that lies outside the directory.
        ResourceDoesNotExist: it is missing.
    """
    if not isinstance(name, str):
        raise InvalidParameterValue(f"The MLmodel file does not say where the model is ('{parameter}').")
    path = contain(directory, name, parameter=parameter)
    if not path.is_file():
        raise ResourceDoesNotExist(f"The model's file '{name[:80]}' is missing.")
    return path
