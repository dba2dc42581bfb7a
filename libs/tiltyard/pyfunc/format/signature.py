"""A model's signature: what it takes, gives and lets be set, and its form in MLmodel."""

from dataclasses import dataclass
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.enforcement.params import ParamSchema
from tiltyard.pyfunc.schema import Schema


@dataclass(frozen=True)
class Signature:
    """Inputs, outputs and params of a model; each is None when unknown.

    `from_type_hint` marks a model whose input is a plain Python list checked against the type hint of its
    `predict`; `type_hint_from_example` one that wants its input in the form of its input example.
    """

    inputs: Schema | None = None
    outputs: Schema | None = None
    params: ParamSchema | None = None
    from_type_hint: bool = False
    type_hint_from_example: bool = False

    def to_dict(self) -> dict[str, str | None]:
        """The value of MLmodel's `signature` key: JSON texts."""
        return {
            "inputs": self.inputs.to_json() if self.inputs else None,
            "outputs": self.outputs.to_json() if self.outputs else None,
            "params": self.params.to_json() if self.params else None,
        }

    @classmethod
    def from_dict(
        cls, entry: Any, *, from_type_hint: bool = False, type_hint_from_example: bool = False
    ) -> "Signature":
        """The signature that MLmodel's `signature` key spells.

        Raises:
            InvalidParameterValue: it is not a mapping of JSON texts, or a schema in it is not well-formed.
        """
        if not isinstance(entry, dict):
            raise InvalidParameterValue("MLmodel's 'signature' must be a mapping.")
        texts: dict[str, str] = {}
        for key in ("inputs", "outputs", "params"):
            text = entry.get(key)
            if text is not None and not isinstance(text, str):
                raise InvalidParameterValue(f"MLmodel's signature '{key}' must be JSON text.")
            if text:
                texts[key] = text
        return cls(
            inputs=Schema.from_json(texts["inputs"]) if "inputs" in texts else None,
            outputs=Schema.from_json(texts["outputs"]) if "outputs" in texts else None,
            params=ParamSchema.from_json(texts["params"]) if "params" in texts else None,
            from_type_hint=from_type_hint,
            type_hint_from_example=type_hint_from_example,
        )
