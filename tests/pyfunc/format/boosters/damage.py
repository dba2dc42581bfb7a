"""Damaged files of boosters: made of good ones, and used by a process of their own, which must not end by them.

As a program: `python -m tests.pyfunc.format.boosters.damage FOLDER` uses all files below a folder, as their suffix
says, and prints for each what came of it.
"""

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters import lightgbm_text, xgboost_file

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_NUMBERS = b"-1 0 1 2 3 5 7 100 -2 -5 2147483647 -2147483648 4294967295 99999999999999999999 1e9 nan =".split(b" ")
_WHOLE = (0, 1, 2, 3, 5, 100, 2**31 - 1, 2**32 - 1, 2**63 - 1)
_ROWS = 16


def damaged(good: Sequence[bytes], count: int, *, seed: int, texts: bool) -> Iterator[bytes]:
    """So many files, each with a few changes; in those that are `texts`, most are other numbers."""
    for index in range(count):
        dice = random.Random(f"{seed}:{index}")
        data = bytearray(dice.choice(good))
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            data = _changed(dice, data, good, texts) or data
        yield bytes(data)


def _changed(dice: random.Random, data: bytearray, good: Sequence[bytes], texts: bool) -> bytearray:
    at = dice.randrange(max(1, len(data) - 8))
    match dice.randrange(8):
        case 0:
            data[at] = dice.randrange(256)
        case 1:
            del data[at : at + dice.choice((1, 3, 20, 200))]
        case 2:
            del data[at:]
        case 3:
            data[at:at] = data[at : at + dice.choice((1, 5, 50))]
        case 4:
            other, size = dice.choice(good), dice.choice((5, 50, 500))
            data[at : at + size] = other[at : at + size]
        case _ if texts:
            places = list(_NUMBER.finditer(bytes(data)))
            if places:
                place = dice.choice(places)
                data[place.start() : place.end()] = dice.choice(_NUMBERS)
        case _:
            size = dice.choice((1, 4, 8))
            data[at : at + size] = (dice.choice(_WHOLE) % 256**size).to_bytes(size, "big")
    return data


def outcomes(files: Iterator[bytes], folder: Path, suffix: str) -> list[str]:
    """What came of each file: refused, failed or used. One that ended the process fails the test that asks."""
    folder.mkdir()
    names = []
    for index, data in enumerate(files):
        names.append(f"{index:05}.{suffix}")
        (folder / names[-1]).write_bytes(data)
    command = [sys.executable, "-m", __name__, str(folder)]
    quiet = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", env=quiet)
    told = [line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith("file ")]
    ended_at = names[len(told)] if len(told) < len(names) else ""
    assert done.returncode == 0, f"{ended_at} ended the process ({done.returncode}): {done.stderr[-500:]}"
    return told


def _use(path: Path) -> str:
    try:
        if path.suffix == ".lgb":
            lightgbm_text.check_text(path.read_bytes())
            _use_lightgbm(path)
        else:
            xgboost_file.check_file(path.read_bytes())
            _use_xgboost(path)
    except InvalidParameterValue:
        return "refused"
    except Exception:
        return "failed"
    return "used"


def _use_lightgbm(path: Path) -> None:
    import lightgbm

    booster = lightgbm.Booster(model_file=path)
    booster.predict(_rows(booster.num_feature()))


def _use_xgboost(path: Path) -> None:
    import xgboost

    booster = xgboost.Booster(model_file=path)
    kinds = booster.feature_types
    rows = _rows(min(booster.num_features(), 10_000))
    if kinds and "c" in kinds:
        rows = np.abs(rows).round()
    data = xgboost.DMatrix(rows, feature_types=kinds, feature_names=booster.feature_names, enable_categorical=True)
    booster.predict(data)


def _rows(features: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(1).normal(size=(_ROWS, features))


if __name__ == "__main__":
    for each in sorted(Path(sys.argv[1]).iterdir()):
        print("file", _use(each), flush=True)
