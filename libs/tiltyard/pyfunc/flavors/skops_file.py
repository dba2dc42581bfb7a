"""skops files, loaded by a list of types that we own.

A skops file says which types it is made of. skops itself trusts scikit-learn's public estimators and some
numpy; to these we add the parts that fitted estimators are made of, listed here. What a file asks for
beyond them is refused, whatever its MLmodel says, unless the operator lists it in the environment
variable TILTYARD_SKOPS_TRUSTED_TYPES (full names, separated by commas).
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from tiltyard.errors import InvalidParameterValue, PermissionDenied
from tiltyard.pyfunc.flavors.tree_bounds import check_trees
from tiltyard.pyfunc.quote import name_list

VARIABLE = "TILTYARD_SKOPS_TRUSTED_TYPES"

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
_SCORES = "chi2 f_classif f_oneway f_regression r_regression"
_SGD_LOSSES = "EpsilonInsensitive Hinge ModifiedHuber SquaredEpsilonInsensitive SquaredHinge"

TRUSTED: frozenset[str] = frozenset(
    [
        "numpy.dtype",
        "numpy.ma.MaskedArray",
        "numpy.ma.core.MaskedArray",
        "numpy.random.RandomState",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
        "scipy.interpolate._interpolate.interp1d",
        "scipy.stats._continuous_distns.loguniform_gen",
        "scipy.stats._continuous_distns.uniform_gen",
        "scipy.stats._distn_infrastructure.rv_continuous_frozen",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._ball_tree.BallTree64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neighbors._kd_tree.KDTree64",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS.split()),
        *(f"sklearn.metrics._dist_metrics.{name}Distance{bits}" for name in _DISTANCES.split() for bits in ("", "64")),
        *(f"sklearn.model_selection._split.{name}" for name in _SPLITTERS.split()),
        *(f"sklearn.feature_selection._univariate_selection.{name}" for name in _SCORES.split()),
        *(f"sklearn.linear_model._sgd_fast.{name}" for name in _SGD_LOSSES.split()),
    ]
)


def untrusted_types(path: Path, *, trusted_types: Iterable[str] = ()) -> list[str]:
    """The types in the file that neither skops, nor our list, nor the operator trusts.

    Raises:
        InvalidParameterValue: the file is not a skops file.
    """
    trusted = TRUSTED.union(trusted_types, _from_environment())
    return [name for name in types_beyond_skops(path) if name not in trusted]


def types_beyond_skops(path: Path) -> list[str]:
    """The types in the file that skops alone does not trust. Raises: InvalidParameterValue."""
    import skops.io

    try:
        return list(skops.io.get_untrusted_types(file=path))
    except ModuleNotFoundError:
        raise
    except (BadZipFile, KeyError, ValueError, TypeError, AttributeError, OSError, RecursionError, ImportError):
        raise InvalidParameterValue("The model's file is not a skops file that can be read.") from None


def load_skops(path: Path, *, trusted_types: Iterable[str] = ()) -> Any:
    """The object in a skops file, if all its types are trusted and its trees point into themselves.

    Args:
        trusted_types: further types that the operator trusts.

    Raises:
        PermissionDenied: it holds other types; the message names them and the setting.
        InvalidParameterValue: not a skops file, or a broken one.
    """
    refused = untrusted_types(path, trusted_types=trusted_types)
    if refused:
        raise PermissionDenied(
            f"The skops model holds types that are not trusted: {name_list(refused)}. If loading them is safe, the "
            f"operator may list them in the environment variable {VARIABLE}."
        )
    import skops.io

    try:
        model = skops.io.load(path, trusted=types_beyond_skops(path))
    except ModuleNotFoundError:
        raise
    except Exception as error:
        # Whatever a crafted file provokes in a constructor, it is the file that is wrong.
        raise InvalidParameterValue(f"The skops model cannot be read ({type(error).__name__}).") from error
    check_trees(model)
    return model


def _from_environment() -> set[str]:
    return {name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()}
