"""The first predictions of a model, before it takes traffic: with its own input example."""

import logging
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tiltyard.errors import MissingPackage, TiltyardError
from tiltyard.pyfunc import PyFunc
from tiltyard.pyfunc.payload import decoder
from tiltyard.pyfunc.payload.decoder import Payload
from tiltyard_serving.warm_up.layout import Layout
from tiltyard_serving.warm_up.row_proof import prove

EXAMPLE = "serving_input_example.json"
MAX_EXAMPLE_BYTES = 8 * 1024 * 1024

_log = logging.getLogger(__name__)


class WarmUp(NamedTuple):
    """What the first predictions showed.

    Attributes:
        layout: how rows lie in its outputs; None when its requests must not be merged.
        warning: why it could not answer its own input example; None if it did, or has none.
    """

    layout: Layout | None
    warning: str | None = None


def warm_up(model: PyFunc, directory: Path, coerce: Literal["strict", "lenient"], *, compiled: bool) -> WarmUp:
    """Predicts the input example, takes the shortest way to its answer, and proves whether requests may be merged.

    A model that fails for its own example may still answer what its callers send: the example may be of a form that
    no request has, or what it needs may be down for a while.

    Raises:
        MissingPackage, ImportError: a package is missing that it predicts with.
    """
    example = example_payload(model, directory, coerce)
    data: Any = None
    warning: str | None = None
    if example is not None:
        try:
            data = model.to_input([example])
            model.predict_enforced(data, example.params)
        except (MissingPackage, ImportError):
            raise
        except Exception as error:
            _log.warning("the model does not answer its own input example", exc_info=error)
            warning = f"The model does not answer its own input example ({type(error).__name__})."
            example = data = None
    model.take_shortcut(data, compiled=compiled)
    return WarmUp(prove(model, example), warning)


def example_payload(model: PyFunc, directory: Path, coerce: Literal["strict", "lenient"]) -> Payload | None:
    """The example as the payload of a request, or None when there is none that a request could carry."""
    path = directory / EXAMPLE
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_EXAMPLE_BYTES:
        _log.warning("the model's input example has over %d bytes, it is not used to warm up", MAX_EXAMPLE_BYTES)
        return None
    try:
        return decoder.decode(path.read_bytes(), "application/json", model.signature, coerce=coerce)
    except TiltyardError as error:
        _log.warning("the model's input example is no valid request, it is not used to warm up: %s", error.message)
        return None
