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
    return library.CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False).fit(_X, _Y)


@pytest.mark.parametrize("fit", [_lightgbm, _xgboost])
def test_a_good_one_is_restored_as_the_class_that_it_is(fit: Any) -> None:
    """A restored booster is of its library's class, and answers as before."""
    model = fit()
    restored = Unpickler(io.BytesIO(pickle.dumps(model))).load()
    assert (restored.predict(_X) == model.predict(_X)).all()
    booster = restored.booster_ if hasattr(restored, "booster_") else restored.get_booster()
    assert type(booster) is type(pickle.loads(pickle.dumps(booster)))
    assert type(booster).__module__.split(".")[0] in ("lightgbm", "xgboost")


def test_a_good_model_of_catboost_is_restored_as_the_class_that_it_is() -> None:
    """Of CatBoost the estimator itself holds the file."""
    model = _catboost()
    restored = Unpickler(io.BytesIO(pickle.dumps(model))).load()
    assert type(restored) is type(model)
    assert (restored.predict(_X) == model.predict(_X)).all()


@pytest.mark.parametrize(
    ("fit", "before", "after"),
    [
        (_lightgbm, b"max_feature_idx=1\n", b"max_feature_idx=0\n"),
        (_xgboost, b"num_nodesSL\0\0\0\0\0\0\0\x01", b"num_nodesSL\0\0\0\0\0\0\0\x00"),
        (_catboost, b"\2\0\0\0\6\0\0\0\6\0\0\0", b"\2\0\0\0\6\0\0\0\x09\0\0\0"),
    ],
)
def test_a_damaged_one_is_refused(fit: Any, before: bytes, after: bytes) -> None:
    """A pickle whose booster names what is not there is refused before native code reads it."""
    data = pickle.dumps(fit())
    assert before in data
    with pytest.raises(InvalidParameterValue, match="model is damaged"):
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


def test_a_damaged_file_in_a_skops_file_is_refused(tmp_path: Path) -> None:
    """So is one whose file of CatBoost does; trusted or not, CatBoost reads it when the model is restored."""
    skops = pytest.importorskip("skops.io")
    model = _catboost()
    path = tmp_path / "model.skops"
    trusted = ("catboost.core.CatBoostClassifier",)
    skops.dump(model, path)
    assert (load_estimator(path, "skops", trusted_types=trusted).predict(_X) == model.predict(_X)).all()

    state = model.__getstate__()
    state["__model"] = state["__model"][:-100]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "__getstate__", lambda _: state)
        skops.dump(model, path)
    with pytest.raises(InvalidParameterValue, match="model is damaged"):
        load_estimator(path, "skops", trusted_types=trusted)
