"""Models of onnx, catboost, statsmodels and torch, saved by MLflow, loaded where it is not installed."""

import pickle
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.pyfunc import peer
from tests.pyfunc.flavors import foreign_models
from tests.serving.in_process import running
from tiltyard import pyfunc
from tiltyard.errors import InvalidParameterValue, ResourceDoesNotExist

# No extra brings torch: its models are tried where it is there.
TORCH = ["pytorch"] if find_spec("torch") else []

ANSWER = """
import pickle, sys
from pathlib import Path
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mlflow", "onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from tiltyard import pyfunc
root = Path(sys.argv[1])
answers = {}
for name, inputs in pickle.loads((root / "inputs").read_bytes()).items():
    model = pyfunc.load(root / name)
    answers[name] = [model.predict(data) for data in inputs]
(root / "answers").write_bytes(pickle.dumps(answers))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all models, with their inputs, and what another process without MLflow answered."""
    folder = tmp_path_factory.mktemp("flavors")
    (folder / "inputs").write_bytes(pickle.dumps(foreign_models.save_all(folder)))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ANSWER, str(folder)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return folder


def read(root: Path, name: str) -> dict[str, list[Any]]:
    return pickle.loads((root / name).read_bytes())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flavor", ["onnx", "catboost", "statsmodels", *TORCH])
def test_answers_without_mlflow_are_those_of_mlflow(root: Path, flavor: str) -> None:
    """Every model of the flavor answers each input, without MLflow, with the very object MLflow's pyfunc gives."""
    inputs, answers = read(root, "inputs"), read(root, "answers")
    names = [name for name in inputs if name.startswith(flavor)]
    assert len(names) >= 4
    for name in names:
        theirs = peer.mlflow.pyfunc.load_model(str(root / name))
        for data, answer in zip(inputs[name], answers[name], strict=True):
            assert_equal(answer, theirs.predict(data), name)


def assert_equal(one: Any, other: Any, name: str) -> None:
    assert type(one) is type(other), name
    if isinstance(other, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    elif isinstance(other, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True, check_freq=False)
    elif isinstance(other, dict):
        assert list(one) == list(other), name
        for key in other:
            assert_equal(one[key], other[key], name)
    elif isinstance(other, np.ndarray):
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other, name


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("onnx several", np.zeros((2, 2), dtype="float32")),
        ("onnx float32", [[1.0, 2.0, 3.0]]),
        ("onnx several tensors", np.zeros(2, dtype="float32")),
        ("statsmodels arima", pd.DataFrame({"start": [40, 41], "end": [43, 44]})),
        ("statsmodels arima", pd.DataFrame({"from": [40]})),
        ("statsmodels arima signed", pd.DataFrame({"start": [40.5], "end": [43.0]})),
    ],
)
def test_what_mlflow_refuses_is_refused(root: Path, name: str, data: Any) -> None:
    """Inputs that the flavor cannot take are refused on both sides, by an error that says what is expected."""
    with pytest.raises(Exception, match=r".") as theirs:
        peer.mlflow.pyfunc.load_model(str(root / name)).predict(data)
    assert theirs.value
    with pytest.raises((InvalidParameterValue, TypeError), match=r"[Ee]xpected|columns|convert|'a'"):
        pyfunc.load(root / name).predict(data)


@pytest.mark.filterwarnings("ignore")
async def test_an_endpoint_answers_for_tensors_and_frames(root: Path) -> None:
    """Over HTTP a float32 tensor, several named tensors, texts and a forecast are answered as in process."""
    names = ["onnx tensor", "onnx several tensors", "onnx zipmap", "catboost signed", "statsmodels arima"]
    models = [f"{name.replace(' ', '-')}={root / name}" for name in names]
    rows = foreign_models.ROWS.tolist()
    bodies: dict[str, Any] = {
        "onnx-tensor": {"inputs": rows},
        "onnx-several-tensors": {"inputs": {"a": [1, 2], "b": [3, 4.5]}},
        "onnx-zipmap": {"inputs": rows[:1]},
        "catboost-signed": {"dataframe_records": [{"a": 0.5, "colour": "red"}, {"a": 2, "colour": "of no kind"}]},
        "statsmodels-arima": {"dataframe_split": {"columns": ["start", "end"], "data": [[40, 42]]}},
    }
    async with running(models=models) as app:
        answers = {
            name: await app.request("POST", f"/serving-endpoints/{name}/invocations", body)
            for name, body in bodies.items()
        }
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(bodies, 200)
    found = {name: answer.json["predictions"] for name, answer in answers.items()}
    single = foreign_models.ROWS.astype("float32")
    expected = pyfunc.load(root / "onnx tensor").predict(single)["y"]
    np.testing.assert_allclose(found["onnx-tensor"]["y"], expected, rtol=1e-6)
    assert found["onnx-several-tensors"] == {"sum": [4.0, 6.5], "product": [3.0, 9.0]}
    assert found["onnx-zipmap"]["chances"][0].keys() == {"no", "yes"}
    assert len(found["catboost-signed"]) == 2
    assert len(found["statsmodels-arima"]) == 3


def test_an_onnx_model_runs_with_its_own_options(root: Path, tmp_path: Path, caplog: Any) -> None:
    """Threads, order and optimization are the model's; a provider that is absent is told, and the CPU answers."""
    about = yaml.safe_load((root / "onnx float32" / "MLmodel").read_text())
    about["flavors"]["onnx"] |= {
        "providers": ["TensorrtExecutionProvider", ["CPUExecutionProvider", {"use_arena": "0"}]],
        "onnx_session_options": {
            "intra_op_num_threads": 1,
            "inter_op_num_threads": 2,
            "execution_mode": "parallel",
            "graph_optimization_level": 1,
            "extra_session_config": {"session.set_denormal_as_zero": "1"},
        },
    }
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(about))
    (tmp_path / "model.onnx").write_bytes((root / "onnx float32" / "model.onnx").read_bytes())
    model = pyfunc.load(tmp_path)
    options = model.model.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 2)
    assert options.execution_mode.name == "ORT_PARALLEL"
    assert options.graph_optimization_level.name == "ORT_ENABLE_BASIC"
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
    assert "TensorrtExecutionProvider" in caplog.text
    assert model.predict(foreign_models.FRAME).shape == (4, 1)


@pytest.mark.parametrize(
    ("name", "file"),
    [("onnx float32", "model.onnx"), ("catboost regressor", "model.cb"), ("statsmodels ols", "model.statsmodels")],
)
def test_a_file_that_holds_no_model_says_so(root: Path, tmp_path: Path, name: str, file: str) -> None:
    """A damaged and a missing file are each one error of ours, without a path of this host."""
    (tmp_path / "MLmodel").write_bytes((root / name / "MLmodel").read_bytes())
    (tmp_path / file).write_bytes(b"no model")
    with pytest.raises(InvalidParameterValue, match="file") as refused:
        pyfunc.load(tmp_path)
    assert str(tmp_path) not in refused.value.message
    (tmp_path / file).unlink()
    with pytest.raises(ResourceDoesNotExist, match=file):
        pyfunc.load(tmp_path)


def test_only_catboost_is_known_to_be_row_wise(root: Path) -> None:
    """Requests are merged for CatBoost; a graph or results of statsmodels may look at other rows."""
    found = {name: pyfunc.load(root / name).row_wise for name in ("catboost texts", "onnx tensor", "statsmodels ols")}
    assert found == {"catboost texts": True, "onnx tensor": False, "statsmodels ols": False}


MODULE = """
import torch

class Named(torch.nn.Module):
    def forward(self, rows, scale=1.0):
        return {"scaled": rows * scale} if scale == 2.0 else rows.sum(dim=1) * scale
"""


if TORCH:

    def test_a_torch_module_of_the_authors_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A module from code_paths takes params; an output that is not one tensor is refused, on both sides."""
        import mlflow.pytorch
        from mlflow.models import infer_signature

        source = tmp_path / "own_torch_module.py"
        source.write_text(textwrap.dedent(MODULE))
        monkeypatch.syspath_prepend(str(tmp_path))
        from own_torch_module import Named

        rows = foreign_models.ROWS.astype("float32")
        path = tmp_path / "model"
        mlflow.pytorch.save_model(
            Named(),
            str(path),
            code_paths=[str(source)],
            pip_requirements=["torch"],
            serialization_format="pickle",
            signature=infer_signature(rows, rows[:, 0], params={"scale": 1.0}),
        )
        ours, theirs = pyfunc.load(path), peer.mlflow.pyfunc.load_model(str(path))
        for params in (None, {"scale": 3.0}):
            np.testing.assert_array_equal(ours.predict(rows, params), theirs.predict(rows, params))
        for model in (ours, theirs):
            with pytest.raises(TypeError, match="tensor"):
                model.predict(rows, {"scale": 2.0})
