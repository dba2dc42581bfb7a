"""Loads CatBoost's files and predicts by them, so that who started it sees at which one the process ends.

Its argument is a folder of folders, each with a pickle of rows, and files of models that take them; it writes the name
of each file before it reads it.
"""

import contextlib
import sys
from pathlib import Path

import pandas as pd
from catboost import CatBoostClassifier

for folder in sorted(Path(sys.argv[1]).iterdir()):
    rows = pd.read_pickle(folder / "rows.pkl")
    for file in sorted(folder.glob("*.cbm")):
        print(file.relative_to(sys.argv[1]), flush=True)
        # That the library refuses a file in words is as good as an answer.
        with contextlib.suppress(Exception):
            model = CatBoostClassifier()
            model.load_model(str(file))
            for count in (1, 5, 40):
                model.predict(rows[:count], thread_count=1)
