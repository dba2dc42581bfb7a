"""From Arrow columns to a model's answer by the quickest way that gives the answer of the usual one."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tiltyard.pyfunc.acceleration.linear import identical
from tiltyard.spark.executors.arrow_columns import Arguments, is_proven, to_matrix

if TYPE_CHECKING:
    from tiltyard.pyfunc import PyFunc

# By digest, whether this process saw the bare matrix answered as the DataFrame was.
matrix_agrees: dict[str, bool] = {}


class PredictionPath:
    """The way of one model.

    Where the Arrow types already are those of the signature, nothing is enforced per batch. If besides every column
    is a number and the estimator is scikit-learn's own, it gets the bare matrix, without pandas: after it answered
    the first batch both ways, equal to the last bit.
    """

    def __init__(self, model: "PyFunc", arguments: Arguments, params: dict[str, Any] | None, *, digest: str) -> None:
        self._model = model
        self._arguments = arguments
        self._params = params
        self._digest = digest
        inputs = model.signature.inputs if model.signature else None
        from_hint = model.signature is not None and model.signature.from_type_hint
        # A signature of columns with names says which column stands where in a matrix.
        known = inputs is not None and inputs.is_named and not from_hint
        self._names = inputs.names if inputs is not None and known else []
        self._dtypes = inputs.scalar_dtypes if inputs is not None and known else None
        # Beside floats, a long could be rounded in a matrix.
        exact = "int64" not in (self._dtypes or ()) or set(self._dtypes or ()) == {"int64"}
        self._may_be_matrix = exact and model.row_wise

    def __call__(self, arrays: Sequence[pa.Array]) -> Any:
        """The model's answer for one batch.

        Raises:
            SchemaEnforcementFailed, InvalidParameterValue: the columns do not fit. Whatever the model raises passes.
        """
        if self._dtypes is not None:
            names, columns = self._arguments.named(arrays)
            if names == self._names and is_proven(columns, self._dtypes):
                return self._of_numbers(columns)
        return self._model.predict(self._arguments.to_input(arrays), self._params)

    def _of_numbers(self, columns: Sequence[pa.Array]) -> Any:
        agrees = matrix_agrees.get(self._digest) if self._may_be_matrix else False
        if agrees:
            return self._model.predict_enforced(to_matrix(columns), self._params)
        answer = self._model.predict_enforced(self._arguments.frame(self._names, columns), self._params)
        if agrees is None:
            matrix_agrees[self._digest] = self._gives(to_matrix(columns), answer)
        return answer

    def _gives(self, matrix: "np.ndarray[Any, Any]", expected: Any) -> bool:
        # The names were compared here, once for all batches; the estimator would miss them in each.
        warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
        try:
            return identical(self._model.predict_enforced(matrix, self._params), expected)
        except Exception:
            # Whatever an estimator has against matrices, it gets DataFrames then.
            return False
