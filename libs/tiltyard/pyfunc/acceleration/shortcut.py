"""The shortest way to the answer of a scikit-learn model: without DataFrames, without names, trees compiled.

Of a request for a linear model, scikit-learn spends most in looking at a DataFrame and at its column names
again. Where the signature has proven both, the estimator gets the bare matrix. That is done only for
scikit-learn's own classes fitted on just these columns, after the shorter way has given the same answers.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiltyard.pyfunc.acceleration.boosted_trees import answer_of, compile_boosted, is_boosted
from tiltyard.pyfunc.acceleration.compiled_trees import CompiledTrees, NotCompiled, compile_trees, is_ensemble, same
from tiltyard.pyfunc.acceleration.linear import identical, linear_answer
from tiltyard.pyfunc.estimators import TooManyParts, parts_of, reads_texts
from tiltyard.pyfunc.payload.data import Payload
from tiltyard.pyfunc.schema import Schema

NAMES = "feature_names_in_"
METHODS = ("predict", "predict_proba")

_PROBE_ROWS = 32


@dataclass(frozen=True)
class Shortcut:
    """A way around parts of a model, equal to it.

    Attributes:
        key: the merge key of payloads whose matrix it takes as it is; None when it takes DataFrames only.
        trees: how trees are answered, for operators: up to how many rows compiled, or why not; None: no trees.
        brief: whether a few rows take microseconds, all of them spent on arithmetic.
        reentrant: whether several threads may predict at once, and are not in each other's way.
    """

    key: Hashable | None
    trees: str | None
    brief: bool
    reentrant: bool
    _of_matrix: Callable[[Any], Any]
    _of_frame: Callable[[Any], Any]

    def matrix(self, payloads: Sequence[Payload]) -> Any | None:
        """The rows of the payloads, which have one merge key, as one matrix; None if they need a DataFrame."""
        if self.key is None or payloads[0].merge_key != self.key:
            return None
        if len(payloads) == 1:
            return payloads[0].data
        return np.concatenate([payload.data for payload in payloads])

    def predict(self, data: Any) -> Any:
        """The answer for a matrix of `matrix`, or a DataFrame."""
        return self._of_matrix(data) if type(data) is np.ndarray else self._of_frame(data)


def find_shortcut(
    estimator: Any, method: str, inputs: Schema | None, example: Any | None, *, compiled: bool
) -> Shortcut | None:
    """A shorter way through the estimator's `method`, or None if there is none.

    Args:
        estimator: one of scikit-learn's own, or a model of XGBoost or LightGBM; of others there is no shorter way.
        example: an enforced input, on which both ways are compared too.
        compiled: whether trees may be compiled.
    """
    if method not in METHODS or reads_texts(estimator):
        return None
    if is_boosted(estimator):
        return _boosted(estimator, inputs, example, compiled)
    native = getattr(estimator, method, None)
    if native is None:
        # Not all that answers row by row has scikit-learn's methods: a pipeline of Spark only transforms.
        return None
    key = None
    bare = estimator
    if inputs is not None and inputs.matrix_dtype is not None and _fitted_on(estimator, inputs):
        without_names = _without_names(estimator)
        if without_names is not None and _agrees_bare(native, getattr(without_names, method), inputs, example):
            key, bare = ("matrix", np.dtype(inputs.matrix_dtype).char, inputs.name_tuple), without_names
    before, last = _parts(bare)
    trees, report = _compile(last, method, compiled)
    of_matrix, of_frame = getattr(bare, method), native
    if trees is not None:
        quick = _chain(before, trees)
        shown = example
        if example is not None and key is not None and inputs is not None:
            shown = np.ascontiguousarray(example, dtype=inputs.matrix_dtype)
        if example is None or same(_try(native, example), _try(quick, shown)):
            of_matrix = quick
            # Steps that look at names need those they were fitted with.
            of_frame = _chain(_parts(estimator)[0], trees) if before else native
        else:
            trees, report = None, "not compiled: it answered the input example differently"
    linear = None
    if trees is None and key is not None and inputs is not None and inputs.matrix_dtype is not None:
        linear = linear_answer(before, last, method, of_matrix, inputs.matrix_dtype)
    if key is None and report is None:
        return None
    brief = linear is not None or (trees is not None and key is not None)
    # Scikit-learn itself asks the trees of a forest from several threads, and the boosted ones without a lock.
    return Shortcut(key, report, brief, is_ensemble(last), linear or of_matrix, of_frame)


def _boosted(model: Any, inputs: Schema | None, example: Any | None, compiled: bool) -> Shortcut:
    """The trees of XGBoost and LightGBM, compiled or not; what is not goes the model's own way."""
    answer = answer_of(model)
    dtype = None if inputs is None or not inputs.is_named else inputs.matrix_dtype
    if not compiled:
        report = "not compiled: it is turned off"
    elif inputs is None or dtype is None or len(inputs.required_names) != len(inputs.names):
        report = "not compiled: its columns are not those of the signature, of one float type and all required"
    else:
        trees, report = _compiled(lambda: compile_boosted(model, inputs.name_tuple))
        if trees is not None:
            if example is None or same(_try(answer, example), _try(trees, np.ascontiguousarray(example, dtype=dtype))):
                return Shortcut(("matrix", np.dtype(dtype).char, inputs.name_tuple), report, True, False, trees, answer)
            report = "not compiled: it answered the input example differently"
    return Shortcut(None, report, False, False, answer, answer)


def _compile(estimator: Any, method: str, compiled: bool) -> tuple[CompiledTrees | None, str | None]:
    """The compiled trees, if there are any, and what an operator is told about them."""
    if not is_ensemble(estimator):
        return None, None
    if not compiled:
        return None, "not compiled: it is turned off"
    return _compiled(lambda: compile_trees(estimator, method))


def _compiled(make: Callable[[], CompiledTrees]) -> tuple[CompiledTrees | None, str]:
    try:
        trees = make()
    except NotCompiled as reason:
        return None, f"not compiled: {reason}"
    except Exception as error:
        # An estimator that raises for generated rows still answers those of its callers.
        return None, f"not compiled: it could not be compared ({type(error).__name__})"
    return trees, f"compiled for up to {trees.max_rows} rows"


def _fitted_on(estimator: Any, inputs: Schema) -> bool:
    """Whether the columns of the signature, all of them required, are those of the fit, in that order."""
    names = getattr(estimator, NAMES, None)
    return (
        names is not None
        and inputs.is_named
        and len(inputs.required_names) == len(inputs.names)
        and list(names) == inputs.names
    )


def _parts(estimator: Any) -> tuple[list[Any], Any]:
    """The transforming steps of a pipeline, and what predicts."""
    steps = getattr(estimator, "steps", None)
    if type(estimator).__name__ != "Pipeline" or not isinstance(steps, list):
        return [], estimator
    before = [step for _, step in steps[:-1] if step is not None and step != "passthrough"]
    return before, steps[-1][1]


def _chain(before: list[Any], last: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if not before:
        return last
    transforms = [step.transform for step in before]

    def run(data: Any) -> Any:
        for transform in transforms:
            data = transform(data)
        return last(data)

    return run


def _without_names(estimator: Any) -> Any | None:
    """The same fitted estimator, sharing all else, that does not ask for column names; None if a part inside would."""
    if getattr(estimator, "_sklearn_output_config", None):
        # It hands DataFrames on, whose names the next step would look at.
        return None
    if type(estimator).__name__ == "Pipeline":
        steps = [(name, _without_names(step) if hasattr(step, "fit") else step) for name, step in estimator.steps]
        if any(step is None for _, step in steps):
            return None
        return _copy(estimator, steps=steps)
    inner = {name: value for name, value in vars(estimator).items() if name != NAMES}
    return None if _asks_for_names(inner) else _copy(estimator)


def _copy(estimator: Any, **changes: Any) -> Any:
    copied = object.__new__(type(estimator))
    vars(copied).update({name: value for name, value in vars(estimator).items() if name != NAMES} | changes)
    return copied


def _asks_for_names(value: Any) -> bool:
    """Whether a fitted estimator within `value` knows column names."""
    try:
        return any(hasattr(part, "get_params") and hasattr(part, NAMES) for part in parts_of(value))
    except TooManyParts:
        return True


def _agrees_bare(native: Callable[[Any], Any], bare: Callable[[Any], Any], inputs: Schema, example: Any | None) -> bool:
    """Whether DataFrames and bare matrices have one answer, to the last bit: of the example, of generated rows."""
    import pandas as pd

    columns = pd.Index(inputs.names)
    wide = np.random.default_rng(0).normal(0, 10, (_PROBE_ROWS, len(columns))).astype(inputs.matrix_dtype)
    holes = wide.copy()
    holes[::3] = np.nan
    probes = [wide, wide[:1], holes]
    if isinstance(example, pd.DataFrame):
        probes.append(np.ascontiguousarray(example.to_numpy(), dtype=inputs.matrix_dtype))
    for rows in probes:
        # A matrix may be what was sent: an estimator that writes into it does not get it.
        bare_rows = rows.copy()
        bare_rows.flags.writeable = False
        if not identical(_try(native, pd.DataFrame(rows, columns=columns)), _try(bare, bare_rows)):
            return False
    return True


def _try(answer: Callable[[Any], Any], data: Any) -> Any:
    try:
        return answer(data)
    except Exception as error:
        # What an estimator raises is its answer: both ways have to raise alike.
        return type(error)
