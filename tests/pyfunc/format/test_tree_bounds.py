"""Trees of a skops file that point outside themselves are refused before they can crash a prediction."""

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.tree_bounds import check_trees

X, Y = load_iris(return_X_y=True)

SOUND = [
    DecisionTreeClassifier(),
    DecisionTreeClassifier(max_leaf_nodes=4),
    make_pipeline(StandardScaler(), RandomForestClassifier(3)),
    HistGradientBoostingClassifier(max_iter=2),
    HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]),
    KNeighborsClassifier(algorithm="kd_tree"),
    KNeighborsClassifier(algorithm="ball_tree"),
]


@pytest.mark.parametrize("model", SOUND, ids=repr)
def test_grown_trees_are_sound(model: Any) -> None:
    """Whatever scikit-learn grew passes, however deep it sits in the model."""
    check_trees({"in": [model.fit(X - X.min(axis=0), Y)]})


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 10_000), ("right_child", 0), ("left_child", -5), ("feature", 99), ("feature", -7)],
)
def test_a_node_that_points_outside_is_refused(field: str, value: int) -> None:
    """Children that do not exist, that lead back, and features the input does not have."""
    tree = DecisionTreeClassifier().fit(X, Y)
    state = tree.tree_.__getstate__()
    nodes = state["nodes"].copy()
    nodes[field][0] = value
    tree.tree_.__setstate__({**state, "nodes": nodes})
    with pytest.raises(InvalidParameterValue, match="out of range"):
        check_trees(make_pipeline(StandardScaler(), tree))


@pytest.mark.parametrize(("field", "value"), [("left", 10_000), ("right", 0)])
def test_a_boosted_node_that_points_outside_is_refused(field: str, value: int) -> None:
    """The same for the trees of histogram gradient boosting."""
    model = HistGradientBoostingClassifier(max_iter=1).fit(X, Y)
    model._predictors[0][0].nodes[field][0] = value
    with pytest.raises(InvalidParameterValue, match="out of range"):
        check_trees(model)


def test_a_neighbour_index_outside_the_data_is_refused() -> None:
    """The same for the rows that a nearest-neighbour tree names."""
    model = KNeighborsClassifier(algorithm="kd_tree").fit(X, Y)
    state = list(model._tree.__getstate__())
    position = next(i for i, part in enumerate(state) if isinstance(part, np.ndarray) and part.dtype == np.intp)
    state[position] = state[position].copy()
    state[position][0] = 10_000
    model._tree.__setstate__(tuple(state))
    with pytest.raises(InvalidParameterValue, match="out of range"):
        check_trees(model)


def test_what_a_model_was_made_with_is_not_looked_at() -> None:
    """A model may refer to a module, and that to anything: only what the model holds itself is data."""

    class Lazy:
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(f"{name} was asked of what is not the model's")

    module = ModuleType("numbers_of_arrays")
    module.__dict__["lazy"] = Lazy()
    check_trees(SimpleNamespace(module=module, kind=Lazy, function=test_grown_trees_are_sound))
