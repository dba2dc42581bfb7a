"""Trees answered by the interpreter: equal to the estimator, or not at all."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression

from tiltyard.pyfunc.acceleration.compiled_trees import CompiledTrees, NotCompiled, compile_trees

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(300, 5))
HOLES = np.where(RANDOM.random(ROWS.shape) < 0.1, np.nan, ROWS)
TWO = (ROWS[:, 0] > 0).astype(int)
TEXTS = np.array(["a", "b", "c"])[RANDOM.integers(0, 3, len(ROWS))]
NUMBERS = 2 * ROWS[:, 0] + ROWS[:, 1]

# Enough trees that scikit-learn cannot be the quicker one, however busy the machine.
FOREST = {"n_estimators": 20, "random_state": 0}
CASES = {
    "forest of two classes": (RandomForestClassifier(**FOREST), TWO, ROWS),
    "forest of texts with nulls": (RandomForestClassifier(**FOREST), TEXTS, HOLES),
    "forest of numbers": (RandomForestRegressor(**FOREST), NUMBERS, HOLES),
    "extra trees": (ExtraTreesClassifier(**FOREST), TEXTS, ROWS),
    "extra trees of numbers": (ExtraTreesRegressor(**FOREST), NUMBERS, ROWS),
    "boosting of two classes": (GradientBoostingClassifier(n_estimators=20, random_state=0), TWO, ROWS),
    "boosting of texts": (GradientBoostingClassifier(n_estimators=20, random_state=0), TEXTS, ROWS),
    "boosting of numbers": (GradientBoostingRegressor(n_estimators=20, random_state=0), NUMBERS, ROWS),
    "histograms of two classes": (HistGradientBoostingClassifier(max_iter=20, random_state=0), TWO, HOLES),
    "histograms of texts": (HistGradientBoostingClassifier(max_iter=20, random_state=0), TEXTS, HOLES),
    "histograms of numbers": (HistGradientBoostingRegressor(max_iter=20, random_state=0), NUMBERS, HOLES),
    "histograms of counts": (
        HistGradientBoostingRegressor(max_iter=20, random_state=0, loss="poisson"),
        np.abs(NUMBERS),
        HOLES,
    ),
}


@pytest.mark.parametrize(
    ("case", "method"),
    [
        (case, method)
        for case, (estimator, _target, _rows) in CASES.items()
        for method in ("predict", "predict_proba")
        if hasattr(estimator, method)
    ],
)
def test_every_kind_answers_as_the_estimator_does(case: str, method: str) -> None:
    """Classes are equal, probabilities and numbers within 1e-12, on rows that the gate never saw, with nulls."""
    estimator, target, rows = CASES[case]
    estimator.fit(rows, target)
    compiled = compile_trees(estimator, method)
    assert compiled.max_rows >= 1
    for size in (1, 7, len(rows)):
        some = 3 * rows[:size]
        expected, answer = getattr(estimator, method)(some), compiled.quick(some)
        assert (answer.dtype, answer.shape) == (expected.dtype, expected.shape)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-12)
        else:
            np.testing.assert_array_equal(answer, expected)


def spied(compiled: CompiledTrees, takes_nulls: bool) -> tuple[CompiledTrees, list[str]]:
    """The same with a list of who answered."""
    asked: list[str] = []

    def note(who: str, answer: Any) -> Any:
        return lambda data: asked.append(who) or answer(data)

    return CompiledTrees(4, note("native", compiled.native), note("quick", compiled.quick), takes_nulls), asked


@pytest.mark.parametrize(
    ("rows", "takes_nulls", "who"),
    [
        (ROWS[:4], False, "quick"),
        (ROWS[:5], False, "native"),
        (ROWS[:0], False, "native"),
        (np.full((1, 5), np.nan), False, "native"),
        (np.full((1, 5), np.nan), True, "quick"),
        (np.full((1, 5), np.inf), True, "native"),
        (np.full((1, 5), -1e35), True, "native"),
        (ROWS[:1].tolist(), True, "native"),
        (np.ones((1, 5), dtype=int), True, "native"),
    ],
)
def test_only_small_inputs_that_were_proven_are_taken(rows: Any, takes_nulls: bool, who: str) -> None:
    """Large inputs, infinities, nulls that were not proven and other types stay the estimator's."""
    estimator, target, data = CASES["forest of texts with nulls"]
    compiled, asked = spied(compile_trees(estimator.fit(data, target), "predict"), takes_nulls)
    try:
        compiled(rows)
    except ValueError:
        assert who == "native"
    assert asked == [who]


def test_nulls_stay_with_an_estimator_that_refuses_them() -> None:
    """A forest fitted without nulls refuses them compiled as it does by itself."""
    compiled = compile_trees(GradientBoostingClassifier(n_estimators=20, random_state=0).fit(ROWS, TWO), "predict")
    with pytest.raises(ValueError, match="NaN"):
        compiled(np.full((1, 5), np.nan))


def test_an_estimator_that_answers_otherwise_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate sees one class that differs, and says so."""
    estimator = RandomForestClassifier(**FOREST).fit(ROWS, TWO)
    honest = estimator.predict
    monkeypatch.setattr(
        estimator, "predict", lambda rows: np.where(np.arange(len(rows)) == 7, 1 - honest(rows), honest(rows))
    )
    with pytest.raises(NotCompiled, match="generated rows differently"):
        compile_trees(estimator, "predict")


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (LogisticRegression().fit(ROWS, TWO), "no ensemble"),
        (RandomForestRegressor(n_estimators=2).fit(ROWS, ROWS[:, :2]), "several outputs"),
        (
            HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(np.abs(ROWS).round(), TWO),
            "categorical",
        ),
        (GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()).fit(ROWS, TWO), "cannot be compiled"),
    ],
)
def test_what_is_not_compiled_says_why(estimator: Any, why: str) -> None:
    """An estimator that cannot be compiled is refused with a reason."""
    with pytest.raises(NotCompiled, match=why):
        compile_trees(estimator, "predict")
