"""Small CatBoost models of all kinds, with rows that they take."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

QUIET = {
    "iterations": 3,
    "depth": 3,
    "random_seed": 1,
    "verbose": False,
    "allow_writing_files": False,
    "thread_count": 1,
}
CTRS = ("Borders", "Buckets", "BinarizedTargetMeanValue", "Counter")
_RANDOM = np.random.default_rng(5)
_WORDS = np.array(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"])

NUMBERS = pd.DataFrame(_RANDOM.normal(size=(80, 3)), columns=["a", "b", "c"])
NULLS = NUMBERS.mask(NUMBERS > 1)
KINDS = NUMBERS.assign(colour=_RANDOM.choice(list("rgbcm"), 80), size=_RANDOM.choice(list("sl"), 80))
TEXTS = NUMBERS.assign(text=[" ".join(_RANDOM.choice(_WORDS, 5)) for _ in range(80)])
VECTORS = NUMBERS.assign(vector=list(_RANDOM.normal(size=(80, 4)).astype("float32")))
TARGET = NUMBERS["a"] + 2 * (KINDS["colour"] == "r") + KINDS["size"].eq("s")
TWO = (TARGET > 1).astype(int)
FOUR = pd.cut(TARGET, 4, labels=False)
SPOKEN = TEXTS["text"].str.contains("alpha").astype(int)
POINTED = (np.stack(VECTORS["vector"].to_list())[:, 0] > 0).astype(int)


def models() -> dict[str, tuple[Callable[[], Any], pd.DataFrame]]:
    """By name, what trains a model, and rows that it takes."""
    from catboost import CatBoost, CatBoostClassifier, CatBoostRanker, CatBoostRegressor, sum_models

    def regressor(rows: Any = NUMBERS, target: Any = TARGET, **options: Any) -> Any:
        return CatBoostRegressor(**QUIET | options).fit(rows, target)

    def classifier(rows: Any = NUMBERS, target: Any = TWO, **options: Any) -> Any:
        return CatBoostClassifier(**QUIET | options).fit(rows, target)

    def of_kinds(target: Any = TWO, rows: Any = KINDS, **options: Any) -> Any:
        return classifier(rows, target, cat_features=["colour", "size"], **options)

    def asymmetric() -> Any:
        model = of_kinds(FOUR)
        model._convert_to_asymmetric_representation()
        return model

    def shrunk() -> Any:
        model = of_kinds()
        model.shrink(2, 1)
        return model

    def of_neighbors() -> Any:
        # With neighbors alone: what else CatBoost computes of embeddings is in the model of projections.
        options = QUIET | {"embedding_processing": {"embedding_processing": {"default": ["KNN:k=3"]}}}
        model = CatBoost(options | {"loss_function": "Logloss"})
        return model.fit(VECTORS, POINTED, embedding_features=["vector"])

    made: dict[str, tuple[Callable[[], Any], pd.DataFrame]] = {
        "one tree": (lambda: regressor(iterations=1), NUMBERS),
        "ranker": (
            lambda: CatBoostRanker(**QUIET).fit(NUMBERS, FOUR, group_id=np.repeat(np.arange(8), 10)),
            NUMBERS,
        ),
        "many outputs": (lambda: regressor(target=np.c_[TARGET, TARGET], loss_function="MultiRMSE"), NUMBERS),
        "unnamed": (lambda: regressor(NUMBERS.to_numpy()), NUMBERS),
        "sum": (lambda: sum_models([regressor(), regressor(random_seed=2)]), NUMBERS),
        "sum of kinds": (lambda: sum_models([of_kinds(), of_kinds(random_seed=2)]), KINDS),
        "of no tree that splits": (lambda: regressor(grow_policy="Depthwise", min_data_in_leaf=1000), NUMBERS),
        "asymmetric": (asymmetric, KINDS),
        "shrunk": (shrunk, KINDS),
        "one-hot": (lambda: of_kinds(one_hot_max_size=10), KINDS),
        "combined": (lambda: of_kinds(one_hot_max_size=2, iterations=20, max_ctr_complexity=3), KINDS),
        "texts": (lambda: classifier(TEXTS, SPOKEN, text_features=["text"]), TEXTS),
        "embeddings": (lambda: classifier(VECTORS, POINTED, embedding_features=["vector"]), VECTORS),
        "neighbors": (of_neighbors, VECTORS),
    }
    for policy in ("SymmetricTree", "Depthwise", "Lossguide"):
        made |= {
            f"regressor {policy}": (partial(regressor, grow_policy=policy), NUMBERS),
            f"binary {policy}": (partial(classifier, grow_policy=policy), NUMBERS),
            f"multiclass {policy}": (partial(classifier, target=FOUR, grow_policy=policy), NUMBERS),
            f"nulls {policy}": (partial(regressor, NULLS, grow_policy=policy), NULLS),
        }
    alone = KINDS[["colour", "size"]]
    for ctr in CTRS:
        for name, target in (("binary", TWO), ("multiclass", FOUR)):
            options = {"one_hot_max_size": 1, "simple_ctr": [ctr], "combinations_ctr": [ctr]}
            made[f"{ctr} {name}"] = (partial(of_kinds, target, alone, **options), alone)
    return made
