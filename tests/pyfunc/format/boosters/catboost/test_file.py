"""CatBoost's files of which a number leads outside are refused before they can end a process."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.pyfunc.format.boosters.catboost import models as catboost_models
from tests.pyfunc.format.boosters.catboost.damages import DAMAGES
from tiltyard import pyfunc
from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.catboost.file import check_catboost

CHILD = Path(__file__).with_name("child.py")
MODELS = catboost_models.models()

Files = Callable[[str], Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The file of the model of that name, which is trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("catboost")

    def of(name: str) -> Path:
        path = folder / name.replace(" ", "_")
        if not path.exists():
            MODELS[name][0]().save_model(str(path))
        return path

    return of


@pytest.mark.parametrize("name", MODELS)
def test_what_catboost_writes_is_sound(files: Files, name: str) -> None:
    """Trees of all kinds, categories, texts and embeddings pass."""
    check_catboost(files(name).read_bytes())


@pytest.mark.parametrize("name", DAMAGES)
def test_a_number_that_leads_outside_is_refused(files: Files, name: str) -> None:
    """In trees, features, tables of categories, parts for texts and embeddings, and in what a model says of itself."""
    model, damage = DAMAGES[name]
    file = bytearray(files(model).read_bytes())
    damage(file)
    with pytest.raises(InvalidParameterValue):
        check_catboost(bytes(file))


@pytest.mark.parametrize(
    ("model", "name", "text"),
    [
        ("regressor SymmetricTree", "params", '{"flat_params":{"loss_function":"RMSEWith\\u0055ncertainty"}}'),
        ("binary SymmetricTree", "class_params", '{"class_to_label":[0],"classes_count":2000000000}'),
        ("multiclass SymmetricTree", "class_params", '{"class_to_label":[0,1,2,3],"classes_count":3}'),
        ("multiclass SymmetricTree", "class_params", '{"class_to_label":[0,1,2,3.9999999999],"classes_count":4}'),
        ("multiclass SymmetricTree", "class_params", '{"class_to_label":[0,1,2,3],"classes_count":3.5}'),
        ("multiclass SymmetricTree", "class_params", '{"class_to_label":[0,0,0,0],"class_to_label":[9,9,9,9]}'),
        ("multiclass SymmetricTree", "multiclass_params", "not JSON"),
    ],
)
def test_what_a_model_cannot_be_is_refused(files: Files, tmp_path: Path, model: str, name: str, text: str) -> None:
    """A loss of more outputs than there are, more classes than there can be, and classes beyond the last."""
    from catboost import CatBoost

    changed = CatBoost().load_model(str(files(model)))
    changed.get_metadata()[name] = text
    changed.save_model(str(tmp_path / "changed"))
    with pytest.raises(InvalidParameterValue):
        check_catboost((tmp_path / "changed").read_bytes())


def damaged(whole: bytes, random: Random) -> dict[str, bytes]:
    """The file, cut off, with other numbers in it, and with other bytes, by what was done."""
    found = {}
    for _ in range(15):
        end = random.randrange(len(whole))
        found[f"cut at {end}"] = whole[:end]
    for _ in range(150):
        at, value = 4 * random.randrange(len(whole) // 4), random.choice((0, 1, 1000, 2**31 - 1, 2**31, 2**32 - 1))
        found[f"{value} at {at}"] = whole[:at] + value.to_bytes(4, "little") + whole[at + 4 :]
    for number in range(40):
        changed = bytearray(whole)
        for _ in range(random.choice((1, 4, 16))):
            changed[random.randrange(len(whole))] = random.randrange(256)
        found[f"bytes {number}"] = bytes(changed)
    return found


def test_no_file_that_passes_ends_a_process(files: Files, tmp_path: Path) -> None:
    """Whatever was damaged, the check refuses it, or CatBoost does, or it predicts something."""
    for name in (
        "binary SymmetricTree",
        "multiclass Lossguide",
        "combined",
        "Borders multiclass",
        "texts",
        "neighbors",
    ):
        (tmp_path / name).mkdir()
        MODELS[name][1].to_pickle(tmp_path / name / "rows.pkl")
        for damage, content in damaged(files(name).read_bytes(), Random(name)).items():
            with contextlib.suppress(InvalidParameterValue):
                check_catboost(content)
                (tmp_path / name / f"{damage}.cbm").write_bytes(content)
    child = subprocess.run([sys.executable, CHILD, tmp_path], capture_output=True, text=True, timeout=300, check=False)
    reached = child.stdout.splitlines()
    assert (child.returncode, len(reached)) == (0, len(list(tmp_path.rglob("*.cbm")))), (reached[-1:], child.stderr)


def test_a_damaged_model_is_not_loaded(tmp_path: Path) -> None:
    """Loaded as any model is, the file is refused before CatBoost reads it."""
    import mlflow.catboost

    model = MODELS["regressor SymmetricTree"][0]()
    mlflow.catboost.save_model(model, str(tmp_path / "m"), pip_requirements=["catboost"])
    rows = catboost_models.NUMBERS
    assert list(pyfunc.load(tmp_path / "m").predict(rows)) == pytest.approx(list(model.predict(rows)))
    (path,) = (tmp_path / "m").glob("*.cb*")
    file = bytearray(path.read_bytes())
    DAMAGES["a split of no feature"][1](file)
    path.write_bytes(file)
    with pytest.raises(InvalidParameterValue, match="a split of a tree is out of range"):
        pyfunc.load(tmp_path / "m")
