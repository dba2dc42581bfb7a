"""Every public estimator of scikit-learn, fitted, is read from a skops file without an operator's help."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.skops_file import load_skops

LEFT_OUT = {
    "Birch": "skops writes no Birch: its nodes refer to one another. It is saved as cloudpickle.",
    "FrozenEstimator": "Nothing is learnt by it; what it holds is another estimator.",
}
TEXTS = ["red green", "green blue", "blue red"] * 10
LABELS = [0, 1] * 15
NUMBERS = np.abs(np.random.default_rng(0).normal(size=(30, 4)))
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "CountVectorizer": (TEXTS,),
    "TfidfVectorizer": (TEXTS,),
    "HashingVectorizer": (TEXTS,),
    "FeatureHasher": ([{"a": 1.0, "b": 2.0}] * 30,),
    "DictVectorizer": ([{"a": 1.0, "b": 2.0}] * 30,),
    "LabelBinarizer": (LABELS,),
    "LabelEncoder": (LABELS,),
    "MultiLabelBinarizer": ([[0], [0, 1]] * 15,),
    "MissingIndicator": (np.where(NUMBERS > 1, np.nan, NUMBERS),),
    "SparseCoder": (NUMBERS[:, :3],),
}
# They are here for what they are made of, not for how well they fit.
BRIEF = {"max_iter": 4, "n_init": 1, "n_estimators": 2, "cv": 2, "Cs": 2, "n_alphas": 2, "n_features_to_select": 1}


def fitted(name: str, cls: Any, *, sparsely: bool) -> Any:
    """The estimator after a fit, or None if it takes no sparse input."""
    from sklearn.utils._test_common.instance_generator import _construct_instances
    from sklearn.utils.estimator_checks import _enforce_estimator_tags_X, _enforce_estimator_tags_y

    estimator = next(iter(_construct_instances(cls)))
    known = estimator.get_params(deep=False)
    own = {key: value for key, value in BRIEF.items() if key in known}
    if "method" in known and "TSNE" in name:
        own["max_iter"] = 250
    estimator.set_params(**own)
    if sparsely and (name in ARGUMENTS or not estimator.__sklearn_tags__().input_tags.sparse):
        return None
    inputs = _enforce_estimator_tags_X(estimator, NUMBERS)
    labels = _enforce_estimator_tags_y(estimator, np.array(LABELS))
    arguments = ARGUMENTS.get(name, (sparse.csr_matrix(inputs) if sparsely else inputs, labels))
    return estimator.fit(*arguments)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sparsely", [False, True], ids=["dense", "sparse"])
def test_public_estimators_load(tmp_path: Path, sparsely: bool) -> None:
    """Whatever numbers they were fitted on, none of them holds what is not trusted, but for the list above."""
    import skops.io
    from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401 - makes them public
    from sklearn.utils import all_estimators

    refused = {}
    count = 0
    for name, cls in all_estimators():
        if name in LEFT_OUT:
            continue
        model = fitted(name, cls, sparsely=sparsely)
        if model is None:
            continue
        count += 1
        try:
            skops.io.dump(model, tmp_path / "m.skops")
            assert type(load_skops(tmp_path / "m.skops")) is cls
        except Exception as error:
            refused[name] = repr(error)
    assert refused == {}
    assert count > (50 if sparsely else 190)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("spoiled", ["indices", "indptr"])
def test_sparse_matrices_that_point_outside_are_refused(tmp_path: Path, kind: Any, spoiled: str) -> None:
    """Indices are followed without looking, so a file in which one is out of range is no model."""
    import skops.io

    matrix = kind(np.eye(4))
    skops.io.dump({"within": [matrix]}, tmp_path / "m.skops")
    assert (load_skops(tmp_path / "m.skops")["within"][0] != matrix).nnz == 0
    getattr(matrix, spoiled)[1] = 1_000_000
    skops.io.dump({"within": [matrix]}, tmp_path / "m.skops")
    with pytest.raises(InvalidParameterValue):
        load_skops(tmp_path / "m.skops")
