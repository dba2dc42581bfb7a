"""A booster within a pickle or a skops file looks at what it is restored from."""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.flavors.sklearn import load_estimator
from tiltyard.pyfunc.own_code.pickles import Unpickler

_X = np.random.default_rng(0).normal(size=(100, 2))
_Y = (_X[:, 1] > 0).astype(int)


def _lightgbm() -> Any:
    library = pytest.importorskip("lightgbm")
    return library.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1).fit(_X, _Y)


def _xgboost() -> Any:
    library = pytest.importorskip("xgboost")
    return library.XGBClassifier(n_estimators=2, n_jobs=1).fit(_X, _Y)


def _catboost() -> Any:
    library = pytest.importorskip("catboost")
    settings = {"iterations": 2, "verbose": False, "allow_writing_files": False, "thread_count": 1}
    return library.CatBoostClassifier(**settings).fit(_X, _Y)


@pytest.mark.parametrize("fit", [_lightgbm, _xgboost, _catboost])
def test_a_good_one_is_restored_as_the_class_that_it_is(fit: Any) -> None:
    """A restored booster is of its library's class, and answers as before."""
    model = fit()
    restored = Unpickler(io.BytesIO(pickle.dumps(model))).load()
    assert (restored.predict(_X) == model.predict(_X)).all()
    restored, model = (getattr(each, "booster_", getattr(each, "_Booster", each)) for each in (restored, model))
    assert type(restored) is type(model)


@pytest.mark.parametrize(
    ("fit", "before", "after"),
    [
        (_lightgbm, b"max_feature_idx=1\n", b"max_feature_idx=0\n"),
        (_xgboost, b"num_nodesSL\0\0\0\0\0\0\0\x01", b"num_nodesSL\0\0\0\0\0\0\0\x00"),
        (_catboost, b"FlabuffersModel_v1", b"FlabuffersModel_v9"),
    ],
)
def test_a_damaged_one_is_refused(fit: Any, before: bytes, after: bytes) -> None:
    """A pickle whose booster names what is not there is refused before native code reads it."""
    data = pickle.dumps(fit())
    assert before in data
    with pytest.raises(InvalidParameterValue, match=r"model is damaged|version that CatBoost"):
        Unpickler(io.BytesIO(data.replace(before, after))).load()


def test_a_damaged_text_in_a_skops_file_is_refused(tmp_path: Path) -> None:
    """A skops file whose booster names what is not there is refused, a good one loads."""
    skops = pytest.importorskip("skops.io")
    model = _lightgbm()
    path = tmp_path / "model.skops"
    names = ("collections.OrderedDict", "collections.defaultdict", "lightgbm.basic.Booster")
    trusted = (*names, "lightgbm.sklearn.LGBMClassifier")
    skops.dump(model, path)
    assert (load_estimator(path, "skops", trusted_types=trusted).predict(_X) == model.predict(_X)).all()

    state = model.booster_.__getstate__()
    state["_handle"] = state["_handle"].replace("max_feature_idx=1\n", "max_feature_idx=0\n")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(type(model.booster_), "__getstate__", lambda _: state)
        skops.dump(model, path)
    with pytest.raises(InvalidParameterValue, match="model is damaged"):
        load_estimator(path, "skops", trusted_types=trusted)
