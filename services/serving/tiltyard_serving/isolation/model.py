"""A model that predicts in a process of its own and is, to the server, like any other."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiltyard.pyfunc import MLModel, PyFunc
from tiltyard.pyfunc.acceleration.shortcut import Shortcut
from tiltyard.pyfunc.flavors import Predictor
from tiltyard_serving.isolation.environment import environment_of
from tiltyard_serving.isolation.process import Event, Limits, Process, ProcessState


class IsolatedModel(PyFunc):
    """Enforcement, merging and params are the server's, as ever; only the prediction happens elsewhere."""

    def __init__(self, metadata: MLModel, process: Process, directory: Path) -> None:
        facts = process.facts
        predictor = Predictor(self._ask, model=None, takes_params=facts["takes_params"], row_wise=facts["row_wise"])
        super().__init__(metadata, predictor, directory)
        self._process = process

    def _ask(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        return self._process.call("predict", data, params)

    def take_shortcut(self, example: Any | None, *, compiled: bool) -> None:
        """As there. It is taken where the estimator is, and again after each restart."""
        found = self._process.arrange("take_shortcut", example, compiled)
        if found["taken"]:
            # Never brief: an answer that crosses to another process is waited for. There it is one at a time.
            self.shortcut = Shortcut(
                key=found["key"],
                trees=found["trees"],
                brief=False,
                reentrant=False,
                _of_matrix=self._ask,
                _of_frame=self._ask,
            )

    @property
    def process(self) -> ProcessState:
        """How its process is."""
        return self._process.state

    @property
    def resident_bytes(self) -> int | None:
        """The memory that its process has, where the system tells."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except OSError:
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """Ends its process."""
        self._process.close()


def isolated(
    name: str,
    directory: Callable[[], Path],
    cache: Path,
    limits: Limits,
    observe: Callable[[Event], object],
) -> IsolatedModel:
    """The model in a directory, loaded in a process of its own with the environment that it asks for.

    Args:
        directory: gives the model's directory, verified; asked again before every restart.
        cache: where environments are kept, by digest.
        observe: told what happens to its process.

    Raises:
        MissingPackage, InvalidParameterValue, InternalError: it cannot be; says why.
    """
    found = directory()
    process = Process(name, directory, environment_of(found, cache), limits, observe)
    return IsolatedModel(MLModel.load(found), process, found)
