"""Public parts of scikit-learn load from skops files; what could run code does not."""

import builtins
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.compose import make_column_selector
from sklearn.datasets import fetch_file, load_svmlight_file
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the estimator public
from sklearn.feature_selection import SelectKBest, chi2, f_classif, mutual_info_classif, r_regression
from sklearn.impute import IterativeImputer
from sklearn.preprocessing import FunctionTransformer, scale

from tiltyard.errors import PermissionDenied
from tiltyard.pyfunc.format.skops_file import load_skops

PARTS = [
    IterativeImputer(),
    *(SelectKBest(score) for score in (chi2, f_classif, mutual_info_classif, r_regression)),
    SelectKBest(partial(mutual_info_classif, random_state=0)),
    make_column_selector(dtype_include=object),
    make_column_selector(dtype_include=[np.number, np.float64, bool]),
    FunctionTransformer(np.log1p),
    FunctionTransformer(np.nan_to_num),
    FunctionTransformer(scale),
]
DANGEROUS = [os.system, builtins.eval, builtins.exec, np.load, np.save, np.savetxt, fetch_file, load_svmlight_file]


@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_public_parts_load(tmp_path: Path, part: Any) -> None:
    """No operator has to name them."""
    skops.io.dump(part, tmp_path / "m.skops")
    assert repr(load_skops(tmp_path / "m.skops")).split(" at 0x")[0] == repr(part).split(" at 0x")[0]


@pytest.mark.parametrize("function", DANGEROUS, ids=lambda function: function.__name__)
def test_functions_that_reach_out_are_refused(tmp_path: Path, function: Any) -> None:
    """Functions that run code or touch files or the network stay untrusted."""
    skops.io.dump(FunctionTransformer(function), tmp_path / "m.skops")
    with pytest.raises(PermissionDenied, match="not trusted"):
        load_skops(tmp_path / "m.skops")
