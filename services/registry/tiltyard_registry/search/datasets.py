"""The datasets on which metrics of logged models were logged."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, or_

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.search.grammar import is_text
from tiltyard_registry.tables.experiments import logged_model_metrics

MAX_DATASETS = 50


class Dataset(NamedTuple):
    """Narrows metrics of logged models to points logged on this dataset; without a digest, on any of the name."""

    name: str
    digest: str | None = None


def on_datasets(datasets: Sequence[Dataset]) -> ColumnElement[bool]:
    """Whether a point of a logged model's metric was logged on one of `datasets`.

    Raises:
        InvalidParameterValue: too many, or a name or digest that is not text.
    """
    if len(datasets) > MAX_DATASETS:
        raise InvalidParameterValue(f"Invalid datasets: {len(datasets)} entries, at most {MAX_DATASETS} are allowed.")
    if not all(is_text(f"{dataset.name}{dataset.digest or ''}") for dataset in datasets):
        raise InvalidParameterValue("Invalid datasets: a name or digest holds a character that is not text.")
    point = logged_model_metrics.c
    return or_(
        *(
            and_(point.dataset_name == d.name, *([point.dataset_digest == d.digest] if d.digest else []))
            for d in datasets
        )
    )
