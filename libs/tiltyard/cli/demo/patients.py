"""The demo's data: breast cancer Wisconsin, which ships with scikit-learn."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_PART_ROWS = 100_000


@dataclass(frozen=True)
class Patients:
    """Breast cancer Wisconsin, split: 30 measurements each; diagnosis 0 is malignant, 1 benign."""

    train: "pd.DataFrame"
    train_diagnosis: "pd.Series[Any]"
    held_out: "pd.DataFrame"
    held_out_diagnosis: "pd.Series[Any]"

    def body(self, rows: slice) -> str:
        """Some held-out patients as a scoring request."""
        return json.dumps({"dataframe_split": self.held_out.iloc[rows].to_dict(orient="split", index=False)})


def load_patients() -> Patients:
    """The data set that ships with scikit-learn, a quarter of it held out."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer(as_frame=True)
    train, held_out, train_diagnosis, held_out_diagnosis = train_test_split(
        data.data, data.target, test_size=0.25, random_state=7, stratify=data.target
    )
    return Patients(train, train_diagnosis, held_out, held_out_diagnosis)


def write_patients(path: Path, patients: Patients, rows: int) -> None:
    """`rows` synthetic patients, drawn from the real ones with a little noise, as a directory of Parquet parts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(7)
    real = patients.train.to_numpy()
    path.mkdir()
    for first in range(0, rows, _PART_ROWS):
        count = min(_PART_ROWS, rows - first)
        drawn = real[random.integers(0, len(real), count)] * random.normal(1.0, 0.02, (count, 1))
        columns = {name: drawn[:, i] for i, name in enumerate(patients.train.columns)}
        pq.write_table(pa.table(columns), path / f"part-{first // _PART_ROWS:03}.parquet", compression="zstd")
