"""A model that leaves a mark each time it is unpickled."""

import uuid
from pathlib import Path
from typing import Any


class CountingModel:
    """Predicts 1.0 for every row. Unpickling it creates one file beside `mark`."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        Path(f"{self.mark}-{uuid.uuid4().hex}").touch()

    def predict(self, model_input: Any) -> list[float]:
        return [1.0] * len(model_input)
