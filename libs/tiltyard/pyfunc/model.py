"""A loaded model: metadata, enforcement and prediction in one object."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.enforcement.params import validate_params
from tiltyard.pyfunc.flavors import Predictor, load_predictor
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.format.signature import Signature
from tiltyard.pyfunc.load_failures.errors import load_errors
from tiltyard.pyfunc.load_failures.missing_packages import caution
from tiltyard.pyfunc.own_code import children  # noqa: F401 - from here on processes that models start have their modules
from tiltyard.pyfunc.own_code.imports import collided
from tiltyard.pyfunc.own_code.modules import ModelModules

if TYPE_CHECKING:
    from tiltyard.pyfunc.acceleration.shortcut import Shortcut
    from tiltyard.pyfunc.payload.data import Payload

_log = logging.getLogger(__name__)

ROW_WISE = "tiltyard.row_wise"

LOAD_TRIES = 3


class PyFunc:
    """A `python_function` model.

    Attributes:
        metadata: the parsed MLmodel file.
        signature: what it takes and gives, or None: then nothing is enforced.
        row_wise: True only when every row's answer is known not to depend on the other rows.
        shortcut: a shorter way to the same answers, once one was taken.
        caution: why its answers may not be those that it gave where it was saved, or None.
    """

    def __init__(
        self,
        metadata: MLModel,
        predictor: Predictor,
        directory: Path | None = None,
        modules: ModelModules | None = None,
    ) -> None:
        self.metadata = metadata
        self.signature: Signature | None = metadata.signature
        self._predictor = predictor
        self._directory = directory
        self._modules = None if modules is None or modules.alone else modules
        declared = metadata.metadata.get(ROW_WISE)
        # The author's word wins: an estimator of his own may be said to be row-wise, or not to be.
        self.row_wise: bool = predictor.row_wise if declared is None else declared is True
        self.shortcut: Shortcut | None = None
        self.caution: str | None = None
        self._example: Any = None
        if self.signature is not None and self.signature.type_hint_from_example:
            self._example = self.input_example()

    def __repr__(self) -> str:
        """What it is made of, what it takes and what it gives."""
        flavor = self.metadata.pyfunc["loader_module"]
        signature = self.signature
        inputs, outputs = (None, None) if signature is None else (signature.inputs, signature.outputs)
        return f"<PyFunc loader={flavor} model={type(self.model).__name__} inputs={inputs} outputs={outputs}>"

    @property
    def model(self) -> Any:
        """The author's own object: the estimator, the PythonModel, or what the loader module returned."""
        return self._predictor.model

    @property
    def takes_params(self) -> bool:
        """Whether its `predict` has an argument for params."""
        return self._predictor.takes_params

    def enforce(self, data: Any) -> Any:
        """`data` as the model takes it, by the strict in-process rules; unchanged without a signature.

        Raises:
            SchemaEnforcementFailed: it does not fit the signature.
        """
        signature = self.signature
        if signature is None or signature.inputs is None or signature.from_type_hint:
            return data
        from tiltyard.pyfunc.enforcement.enforce import enforce

        return enforce(data, signature.inputs)

    def validate_params(self, params: Any) -> dict[str, Any]:
        """Every declared param, with the value in `params` or its default.

        Raises:
            InvalidParameterValue: a value does not fit.
        """
        return validate_params(params, None if self.signature is None else self.signature.params)

    def predict(self, data: Any, params: Any = None) -> Any:
        """The model's answer for `data`, after enforcement.

        Raises:
            SchemaEnforcementFailed, InvalidParameterValue: the input or the params do not fit. Whatever the
                model itself raises passes through.
        """
        return self.predict_enforced(self.enforce(data), params)

    def predict_enforced(self, data: Any, params: Any = None) -> Any:
        """The model's answer for data that is already what the model takes; params are still validated.

        Raises:
            InvalidParameterValue: the params do not fit. Whatever the model itself raises passes through.
        """
        if self.shortcut is not None:
            return self.shortcut.predict(data)
        if self._example is not None:
            data = _like_example(data, self._example)
        try:
            if not self._predictor.takes_params:
                return self._predictor.predict(data)
            return self._predictor.predict(data, params=self.validate_params(params))
        finally:
            if self._modules is not None:
                self._modules.settle()

    def to_input(self, payloads: Sequence["Payload"]) -> Any:
        """One input for `predict_enforced`, from payloads that have one merge key or from a single one."""
        if self.shortcut is not None:
            matrix = self.shortcut.matrix(payloads)
            if matrix is not None:
                return matrix
        return payloads[0].build([payload.data for payload in payloads])

    def take_shortcut(self, example: Any | None, *, compiled: bool) -> None:
        """From now on answers the same in a shorter way, if there is one: made for those who serve.

        Args:
            example: an enforced input on which both ways are compared.
            compiled: whether trees may be compiled.
        """
        if not self._predictor.row_wise or self._predictor.takes_params or self._example is not None:
            return
        from tiltyard.pyfunc.acceleration.shortcut import find_shortcut

        method = str(self.metadata.pyfunc.get("predict_fn") or "predict")
        inputs = None if self.signature is None else self.signature.inputs
        self.shortcut = find_shortcut(self.model, method, inputs, example, compiled=compiled)

    def input_example(self) -> Any | None:
        """The saved input example in the form the author gave it, or None.

        Raises:
            InvalidParameterValue: it cannot be read.
        """
        if self._directory is None or self.metadata.input_example_path is None:
            return None
        from tiltyard.pyfunc.payload.input_example import read_example

        return read_example(self._directory, self.metadata)


def load(path: os.PathLike[str] | str, *, alone: bool = False) -> PyFunc:
    """The model in a directory. Unless it is a skops file, loading runs its author's code.

    Args:
        alone: this process never has another model. Then the modules that the model brings also stand in
            `sys.modules` by their own names.

    Raises:
        ResourceDoesNotExist: no MLmodel file, or no python_function flavor.
        BadRequest: the model is external, without files.
        MissingPackage: something that the model needs is not installed; says what to install.
        PermissionDenied: a skops file holds types that are not trusted.
        ModelUnreadable: one of the model's files cannot be read; says which.
        InvalidParameterValue: the MLmodel file says what cannot be, or the model's own code failed; its cause is that.
    """
    directory = Path(path)
    metadata = MLModel.load(directory)
    for _ in range(LOAD_TRIES - 1):
        try:
            return _load(directory, metadata, alone)
        except Exception as error:
            # A model's code may raise anything, and what collided may be wrapped by it.
            if not collided(error):
                raise
            _log.info("loading a model again: its imports met those of another thread", exc_info=error)
    return _load(directory, metadata, alone)


def _load(directory: Path, metadata: MLModel, alone: bool) -> PyFunc:
    with load_errors(directory, metadata):
        _check_tensors(metadata.signature)
        modules = ModelModules.of_model(directory, metadata, alone=alone)
        with modules.loading():
            predictor = load_predictor(directory, metadata)
        found = PyFunc(metadata, predictor, directory, modules)
        modules.forget_with(found)
        found.caution = caution(directory, metadata)
        return found


def _check_tensors(signature: Signature | None) -> None:
    if signature is None or signature.inputs is None or not signature.inputs.tensors:
        return
    from tiltyard.pyfunc.enforcement.tensors import tensor_dtype

    for spec in signature.inputs.tensors:
        tensor_dtype(spec)


def _like_example(data: Any, example: Any) -> Any:
    """A DataFrame in the form of the input example. Source: mlflow/types/type_hints.py at v3.17.2."""
    import numpy as np
    import pandas as pd

    if not isinstance(data, pd.DataFrame) or isinstance(example, pd.DataFrame):
        return data
    if isinstance(example, dict):
        return data.to_dict(orient="records")[0] if len(data) == 1 else data
    if isinstance(example, list):
        if len(data.columns) == 1 and all(np.isscalar(item) for item in example):
            return data.iloc[:, 0].tolist()
        return data.to_dict(orient="records")
    if np.isscalar(example):
        if data.empty:
            raise InvalidParameterValue("The input holds no value.")
        return data.iloc[0, 0]
    return data
