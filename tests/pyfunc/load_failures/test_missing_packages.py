"""What a load that fails says: everything that is missing at once, other releases, and what to do about it."""

import importlib.metadata
import json
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import tiltyard
from tests.fixtures.waiting import until
from tests.serving.in_process import App, running
from tiltyard import pyfunc
from tiltyard.environments.requirements import Requirement
from tiltyard.errors import InvalidParameterValue, MissingPackage
from tiltyard.pyfunc.load_failures.installed_packages import installed_release, requirements
from tiltyard_serving.app import create_app
from tiltyard_serving.settings import ServingSettings

Hide = Callable[..., None]


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Hide:
    """Makes modules and distributions of these names look as if they were not installed."""
    real, hidden = importlib.metadata.version, set[str]()

    def version(name: str) -> str:
        if name in hidden:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    def run(*names: str) -> None:
        for name in names:
            hidden.add(name)
            root = {"scikit-learn": "sklearn"}.get(name, name)
            monkeypatch.setitem(sys.modules, root, None)
            for loaded in [module for module in sys.modules if module.startswith(f"{root}.")]:
                monkeypatch.delitem(sys.modules, loaded)

    monkeypatch.setattr(importlib.metadata, "version", version)
    return run


def model(path: Path, loader: str, wanted: str = "", flavors: Any = None, **settings: Any) -> Path:
    """A model directory of that loader and these requirements."""
    path.mkdir(exist_ok=True)
    about = {"flavors": {"python_function": {"loader_module": loader, **settings}, **(flavors or {})}}
    (path / "MLmodel").write_text(json.dumps(about))
    (path / "requirements.txt").write_text(wanted)
    return path


def message(path: Path, kind: type[Exception] = MissingPackage) -> str:
    with pytest.raises(kind) as refused:
        pyfunc.load(path)
    return str(refused.value)


def installs(told: str) -> list[str]:
    """What a message says to install."""
    return [
        name for command in re.findall(r"pip install ((?:'[^']+' ?)+)", told) for name in re.findall("'(.*?)'", command)
    ]


def test_a_flavor_that_needs_mlflow_names_all_at_once(tmp_path: Path, hide: Hide) -> None:
    """MLflow, the library and whatever else the model asks for are told in one message, with the way around."""
    hide("mlflow", "mlflow-skinny")
    wanted = "mlflow==3.17.2\ntensorflow[and-cuda]==2.20.0\nnumpy>=1\nno-such-thing-x~=1.2  # why\n-r other.txt\n"
    told = message(model(tmp_path / "m", "mlflow.tensorflow", wanted))
    assert installs(told) == ["mlflow==3.17.2", "tensorflow==2.20.0", "no-such-thing-x~=1.2"]
    assert "--isolation process" in told
    assert installs(message(model(tmp_path / "m", "mlflow.transformers"))) == ["mlflow", "transformers"]


@pytest.mark.parametrize("kind", ["pickle", "code"])
def test_own_code_that_uses_mlflow_names_all_at_once(tmp_path: Path, hide: Hide, kind: str) -> None:
    """A part of MLflow that a pickle or a code file names is told with whatever else the model asks for."""
    hide("mlflow", "mlflow-skinny")
    wanted = "mlflow==3.17.2\nno-such-thing-x~=1.2\ncloudpickle\n"
    if kind == "pickle":
        path = model(tmp_path / "m", "mlflow.pyfunc.model", wanted, python_model="model.pkl")
        (path / "model.pkl").write_bytes(b"cmlflow.entities\nMetric\n.")
    else:
        path = model(tmp_path / "m", "mlflow.pyfunc.loaders.code_model", wanted, model_code_path="code.py")
        (path / "code.py").write_text("import mlflow\nmlflow.entities.Metric\n")
    told = message(path)
    assert "'mlflow.entities" in told
    assert installs(told) == ["mlflow==3.17.2", "no-such-thing-x~=1.2"]
    assert "--isolation process" in told


def test_an_own_flavor_names_its_extra(tmp_path: Path, hide: Hide) -> None:
    """Where an extra brings what is missing, it is named; MLflow and the package onnx are not needed and not told."""
    hide("onnxruntime", "onnx", "mlflow", "mlflow-skinny", "statsmodels", "catboost")
    path = model(
        tmp_path / "m", "mlflow.onnx", "mlflow==3.17.2\nonnx==1.20.0\nonnxruntime==1.23.0\n", data="model.onnx"
    )
    (path / "model.onnx").write_bytes(b"")
    told = message(path)
    assert installs(told) == ["tiltyard[onnx]"]
    assert "'onnxruntime==1.23.0'" in told
    path = model(tmp_path / "m", "mlflow.statsmodels", "mlflow\nstatsmodels\ncatboost\nno-such-thing-x\n", data="m.pkl")
    (path / "m.pkl").write_bytes(b"")
    assert installs(message(path)) == ["tiltyard[statsmodels,catboost]", "no-such-thing-x"]


def test_torch_is_named_without_mlflow(tmp_path: Path, hide: Hide) -> None:
    """A PyTorch model needs torch alone, in the release that the model names."""
    hide("torch", "mlflow", "mlflow-skinny")
    wanted = "mlflow==3.17.2\ntorch==2.13.0\ncloudpickle\n"
    assert installs(message(model(tmp_path / "m", "mlflow.pytorch", wanted, data="data"))) == ["torch==2.13.0"]


def pickled(path: Path, data: bytes, wanted: str = "", **flavor: Any) -> Path:
    """A scikit-learn model whose pickle is `data`."""
    made = model(path, "mlflow.sklearn", wanted, {"sklearn": flavor}, model_path="model.pkl")
    (made / "model.pkl").write_bytes(data)
    return made


@pytest.mark.parametrize("module", ["_loss", "team_features", "numpy_of_a_stranger"])
def test_an_unknown_name_is_never_advised(tmp_path: Path, module: str) -> None:
    """A module that neither the requirements nor we know may be nobody's package: its name is told, not installed."""
    told = message(pickled(tmp_path / "m", f"c{module}\nThing\n.".encode(), "scikit-learn==1.6.1\nmlflow==2.22.1\n"))
    assert f"'{module}'" in told
    assert installs(told) == []
    assert "scikit-learn 1.6.1 (installed: " in told
    assert "code_paths" in told


def test_a_known_name_is_advised_by_its_distribution(tmp_path: Path) -> None:
    """A requirement of the model, and a module whose package is well known, are named by what is to be installed."""
    wanted = "Team.Features>=2\n"
    assert installs(message(pickled(tmp_path / "m", b"cteam_features\nThing\n.", wanted))) == ["team-features>=2"]
    assert installs(message(pickled(tmp_path / "m", b"ccategory_encoders\nThing\n."))) == ["category-encoders"]


def test_a_module_that_the_installed_release_lacks(tmp_path: Path) -> None:
    """A private module of an older scikit-learn is told as such; installing what is installed is not advised."""
    told = message(pickled(tmp_path / "m", b"csklearn.ensemble.forest\nForest\n.", sklearn_version="0.21.3"))
    assert "which scikit-learn" in told
    assert "scikit-learn 0.21.3 (installed: " in told
    assert installs(told) == []


def old_model() -> bytes:
    """A fitted estimator, pickled by this release."""
    return pickle.dumps(LinearRegression().fit(np.eye(2), [0.0, 1.0]))


async def test_other_releases_are_told_at_the_endpoint_and_in_the_log(tmp_path: Path, caplog: Any) -> None:
    """A pickle that another release wrote and this one cannot read names both, and one that it reads is logged."""
    fails = pickled(
        tmp_path / "fails", old_model().replace(b"LinearRegression", b"LinearRegressioX"), "scikit-learn==1.3.2"
    )
    told = message(fails, InvalidParameterValue)
    here = installed_release("scikit-learn")
    assert f"scikit-learn 1.3.2 (installed: {here})" in told
    assert "AttributeError" in told
    assert "--isolation process" in told
    assert str(tmp_path) not in told
    app = App(create_app(ServingSettings(models=(f"fails={fails}",))))
    async with app.app.lifespan():

        async def shown() -> str:
            text = (await app.request("GET", "/api/tiltyard/v1/endpoints")).body.decode()
            return text if "1.3.2" in text else ""

        text = await until(shown)
        assert f"scikit-learn 1.3.2 (installed: {here})" in text
        assert "--isolation process" in text
    loads = pickled(tmp_path / "loads", old_model(), "scikit-learn==1.3.2")
    async with running(models=[f"loads={loads}"]):
        pass
    [line] = [record.getMessage() for record in caplog.records if "may differ" in record.getMessage()]
    assert line.startswith("loads/")
    assert f"scikit-learn 1.3.2 (installed: {here})" in line
    caplog.clear()
    tiltyard.load_model(str(loads))
    assert f"{loads}: the model was saved with scikit-learn 1.3.2" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "flavor"),
    [
        ("scikit-learn=={here}", {}),
        ("scikit-learn>=1", {}),
        ("", {}),
        ("scikit-learn==1.3.2", {"serialization_format": "skops"}),
    ],
)
def test_the_same_release_needs_no_caution(tmp_path: Path, wanted: str, flavor: Any) -> None:
    """The installed release, an open requirement, none, and a skops file are loaded without a word."""
    path = tmp_path / "m"
    if flavor:
        pyfunc.save_model(LinearRegression().fit(np.eye(2), [0.0, 1.0]), path)
        (path / "requirements.txt").write_text(wanted)
    else:
        pickled(path, old_model(), wanted.format(here=installed_release("scikit-learn")))
    assert pyfunc.load(path).caution is None


def test_requirements_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    """Names are normal, pins are found, markers count, and what is no requirement is passed over."""
    lines = [
        "Scikit_Learn == 1.6.1  # pinned",
        "torch==2.13.0+cpu",
        "a>=1,<2 ; python_version >= '3'",
        "b==1; python_version < '3'",
        "c[extra]",
        "d @ https://example.com/d.whl",
        "--extra-index-url https://example.com",
        "./local.whl",
        "",
    ]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    found = requirements(tmp_path)
    assert found == [
        Requirement("scikit-learn", "==1.6.1"),
        Requirement("torch", "==2.13.0+cpu"),
        Requirement("a", ">=1,<2"),
        Requirement("c", ""),
    ]
    assert [wanted.pinned for wanted in found] == ["1.6.1", "2.13.0+cpu", None, None]
    (tmp_path / "requirements.txt").write_bytes(b"\xff")
    assert requirements(tmp_path) == []
