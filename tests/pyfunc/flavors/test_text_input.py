"""A pipeline that begins with a vectorizer of texts answers each text of its column."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.serving.saved_models import column, signature
from tiltyard import pyfunc
from tiltyard.errors import InvalidParameterValue
from tiltyard_serving.warm_up.warm_up import warm_up

TEXTS = ["good and fine", "bad and ugly", "fine", "ugly"]
LABELS = [1, 0, 1, 0]


def fitted(last: str) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline, make_union

    models = {
        "linear": make_pipeline(TfidfVectorizer(), LogisticRegression()),
        "union": make_pipeline(make_union(TfidfVectorizer(), CountVectorizer()), LogisticRegression()),
        "trees": make_pipeline(CountVectorizer(), RandomForestClassifier(3, random_state=0)),
        "searched": GridSearchCV(make_pipeline(TfidfVectorizer(), LogisticRegression()), {}, cv=2),
    }
    return models[last].fit(TEXTS, LABELS)


@pytest.mark.parametrize("last", ["linear", "union", "trees", "searched"])
def test_each_text_has_its_answer(tmp_path: Path, last: str) -> None:
    """Three rows have three answers, those to the texts and not to the name of their column, also when served."""
    estimator = fitted(last)
    signed = signature([column("text", "string")])
    pyfunc.save_model(
        estimator, tmp_path / "m", signature=signed, serialization_format="cloudpickle", pip_requirements=[]
    )
    model = pyfunc.load(tmp_path / "m")
    frame = pd.DataFrame({"text": TEXTS[:3]})
    expected = estimator.predict(TEXTS[:3])
    assert np.array_equal(model.predict(frame), expected)
    assert warm_up(model, tmp_path / "m", "strict", compiled=True).layout is not None
    assert np.array_equal(model.predict(frame), expected)
    assert np.array_equal(model.predict_enforced(np.array(TEXTS[:3], dtype=object)), expected)
    with pytest.raises(InvalidParameterValue, match="one column of texts, got 2"):
        model.predict_enforced(frame.assign(more="x"))
