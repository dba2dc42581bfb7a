"""skops files, loaded by a list of types that we own.

A skops file says which types it is made of. skops itself trusts scikit-learn's public estimators and some numpy; to
these we add what is listed here. What a file asks for beyond them is refused, whatever its MLmodel says, unless the
operator lists it in the environment variable TILTYARD_SKOPS_TRUSTED_TYPES (full names, separated by commas).

A file can build an object of a trusted type with any attributes, and have a trusted function called with any
arguments. So what is here neither runs code that it is given nor touches files, the network or the process: parts of
fitted estimators, types that only say which columns are meant, and functions of scikit-learn's computing packages and
of numpy that go from arrays to arrays.
"""

import functools
import importlib
import os
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tiltyard.errors import PermissionDenied, name_list
from tiltyard.pyfunc.format.boosters.states import check_skops_file
from tiltyard.pyfunc.format.tree_bounds import check_trees

_KERNELS = (
    "CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Hyperparameter Matern PairwiseKernel "
    "Product RBF RationalQuadratic Sum WhiteKernel"
)
_DISTANCES = (
    "BrayCurtis Canberra Chebyshev Dice Euclidean Hamming Haversine Jaccard Mahalanobis Manhattan Minkowski "
    "RogersTanimoto RussellRao SEuclidean SokalSneath Yule"
)
_SPLITTERS = (
    "GroupKFold GroupShuffleSplit KFold LeaveOneGroupOut LeaveOneOut LeavePGroupsOut LeavePOut PredefinedSplit "
    "RepeatedKFold RepeatedStratifiedKFold ShuffleSplit StratifiedGroupKFold StratifiedKFold "
    "StratifiedShuffleSplit TimeSeriesSplit"
)
_SGD_LOSSES = "EpsilonInsensitive Hinge ModifiedHuber SquaredEpsilonInsensitive SquaredHinge"
_SCORERS = "_CurveScorer _MultimetricScorer _PassthroughScorer _Scorer"
# Estimators that skops knows only after their module of `sklearn.experimental` was imported.
_EXPERIMENTAL = (
    "impute._iterative.IterativeImputer",
    "impute._iterative._ImputerTriplet",
    "model_selection._search_successive_halving.HalvingGridSearchCV",
    "model_selection._search_successive_halving.HalvingRandomSearchCV",
)
# Kinds of numbers and of columns, as selectors of columns take them.
_NUMPY_KINDS = (
    "bool character complexfloating datetime64 dtype flexible floating generic inexact integer number object_ "
    "signedinteger timedelta64 unsignedinteger"
)
_PANDAS_KINDS = (
    "BooleanDtype CategoricalDtype DatetimeTZDtype Float32Dtype Float64Dtype Int16Dtype Int32Dtype Int64Dtype "
    "Int8Dtype IntervalDtype PeriodDtype StringDtype UInt16Dtype UInt32Dtype UInt64Dtype UInt8Dtype"
)
_PANDAS_MODULES = [
    "core.arrays.boolean",
    "core.arrays.floating",
    "core.arrays.integer",
    "core.arrays.string_",
    "core.dtypes.dtypes",
]
# From arrays to arrays: none reads or writes a file, calls what it is given, or changes a setting.
_NUMPY_FUNCTIONS = (
    "all amax amin angle any argmax argmin argsort around array asarray atleast_1d atleast_2d average clip "
    "column_stack concatenate count_nonzero cumprod cumsum diff digitize expand_dims fix flip fliplr flipud "
    "hstack imag interp isclose iscomplex isin isneginf isposinf isreal max mean median min nan_to_num nanargmax "
    "nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin nanpercentile nanprod nanquantile nanstd "
    "nansum nanvar percentile prod ptp quantile ravel real real_if_close reshape round searchsorted sinc sort "
    "squeeze stack std sum take transpose trapezoid unwrap var vstack where"
)
# Scikit-learn's packages of which every public function goes from arrays to arrays, numbers or texts.
_FUNCTION_PACKAGES = (
    "sklearn.feature_extraction.text",
    "sklearn.feature_selection",
    "sklearn.metrics",
    "sklearn.metrics.cluster",
    "sklearn.metrics.pairwise",
    "sklearn.preprocessing",
)

_NAMES: frozenset[str] = frozenset(
    [
        "builtins.bytes",
        "builtins.complex",
        "builtins.object",
        "functools.partial",
        "numpy.ma.MaskedArray",
        "numpy.matrix",
        "numpy.ma.core.MaskedArray",
        "numpy.random.RandomState",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
        # So its class is called since SciPy 1.18.
        "scipy.interpolate._bsplines._BSpline",
        "scipy.interpolate._interpolate.interp1d",
        # Their indices are checked once they are loaded: see `tree_bounds`.
        *(f"scipy.sparse._{kind}.{kind}_{form}" for kind in ("csr", "csc") for form in ("matrix", "array")),
        "scipy.stats._continuous_distns.loguniform_gen",
        "scipy.stats._continuous_distns.uniform_gen",
        "scipy.stats._distn_infrastructure.rv_continuous_frozen",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.cluster._bisect_k_means._BisectingTree",
        "sklearn.cluster._kmeans._kmeans_single_elkan",
        "sklearn.cluster._kmeans._kmeans_single_lloyd",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._ball_tree.BallTree64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neighbors._kd_tree.KDTree64",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
        *(f"sklearn.{name}" for name in _EXPERIMENTAL),
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS.split()),
        *(f"sklearn.linear_model._sgd_fast.{name}" for name in _SGD_LOSSES.split()),
        *(f"sklearn.metrics._dist_metrics.{name}Distance{bits}" for name in _DISTANCES.split() for bits in ("", "64")),
        *(f"sklearn.metrics._scorer.{name}" for name in _SCORERS.split()),
        *(f"sklearn.model_selection._split.{name}" for name in _SPLITTERS.split()),
        *(f"numpy.{name}" for name in _NUMPY_KINDS.split()),
        *(f"numpy.{name}" for name in _NUMPY_FUNCTIONS.split()),
        *(f"pandas.{module}.{name}" for module in _PANDAS_MODULES for name in _PANDAS_KINDS.split()),
    ]
)


@functools.cache
def listed_types() -> frozenset[str]:
    """The full names of all of them, for the scikit-learn that is installed."""
    return _NAMES.union(*(_public_functions(package) for package in _FUNCTION_PACKAGES))


def _public_functions(package: str) -> set[str]:
    """The full names under which skops knows the package's public functions, of scikit-learn's own."""
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError:
        return set()
    found = [getattr(module, name, None) for name in getattr(module, "__all__", ())]
    functions = [value for value in found if isinstance(value, types.FunctionType)]
    return {f"{each.__module__}.{each.__name__}" for each in functions if each.__module__.startswith("sklearn.")}


VARIABLE = "TILTYARD_SKOPS_TRUSTED_TYPES"


def untrusted_types(path: Path, *, trusted_types: Iterable[str] = ()) -> list[str]:
    """The types in the file that neither skops, nor our list, nor the operator trusts."""
    trusted = listed_types().union(trusted_types, map(str.strip, os.environ.get(VARIABLE, "").split(",")))
    return [name for name in types_beyond_skops(path) if name not in trusted]


def types_beyond_skops(path: Path) -> list[str]:
    """The types in the file that skops alone does not trust."""
    import skops.io

    return list(skops.io.get_untrusted_types(file=path))


def load_skops(path: Path, *, trusted_types: Iterable[str] = ()) -> Any:
    """The object in a skops file, if all its types are trusted and its trees point into themselves.

    Args:
        trusted_types: further types that the operator trusts.

    Raises:
        PermissionDenied: it holds other types; the message names them and the setting.
        InvalidParameterValue: its trees do not, or a booster in it is damaged.
    """
    refused = untrusted_types(path, trusted_types=trusted_types)
    if refused:
        raise PermissionDenied(
            f"The skops model holds types that are not trusted: {name_list(refused)}. If loading them is safe, the "
            f"operator may list them in the environment variable {VARIABLE}."
        )
    import skops.io

    check_skops_file(path)
    model = skops.io.load(path, trusted=types_beyond_skops(path))
    check_trees(model)
    return model
