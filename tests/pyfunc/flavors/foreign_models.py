"""Models of other libraries, saved by MLflow, each with inputs that it takes; made once per run of the tests."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.pyfunc import peer

Cases = dict[str, list[Any]]

FRAME = pd.DataFrame({"a": [0.5, -1.0, 2.0, 3.25], "b": [1.0, 0.0, -1.5, 2.0], "c": [4.0, 1.0, 0.25, -3.0]})
ROWS = FRAME.to_numpy()


def save_all(root: Path) -> Cases:
    """Directory names below `root` to the inputs of the model that was saved there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _onnx(root) | _catboost(root) | _statsmodels(root) | _pytorch(root)


def signature(*columns: tuple[str, str]) -> Any:
    """MLflow's signature of inputs with these types and names."""
    from mlflow.types.schema import ColSpec, Schema

    return peer.ModelSignature(inputs=Schema([ColSpec(kind, name) for kind, name in columns]))


def tensor_signature(dtype: str, *shapes: tuple[str | None, tuple[int, ...]]) -> Any:
    """MLflow's signature of tensors of one type, by name and shape."""
    from mlflow.types.schema import Schema, TensorSpec

    return peer.ModelSignature(inputs=Schema([TensorSpec(np.dtype(dtype), shape, name) for name, shape in shapes]))


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any] | None = None) -> Any:
    """An ONNX model of these nodes, in a form that old runtimes read."""
    from onnx import helper, numpy_helper

    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_graph(nodes, "graph", inputs, outputs, values)
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def linear_graph(dtype: Any) -> Any:
    """`y = x @ weights + 1`, of the given precision."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT if dtype == np.float32 else TensorProto.DOUBLE
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "o"], ["y"])]
    weights = {"w": np.array([[0.1], [0.7], [-0.3]], dtype), "o": np.array([1], dtype)}
    inputs = [helper.make_tensor_value_info("x", kind, [None, 3])]
    return graph(nodes, inputs, [helper.make_tensor_value_info("y", kind, [None, 1])], weights)


def _onnx(root: Path) -> Cases:
    import mlflow.onnx
    from onnx import TensorProto, helper

    def save(name: str, model: Any, inputs: list[Any], **more: Any) -> None:
        mlflow.onnx.save_model(model, str(root / name), pip_requirements=["onnxruntime"], **more)
        cases[name] = inputs

    def column(name: str, kind: int) -> Any:
        return helper.make_tensor_value_info(name, kind, [None])

    cases: Cases = {}
    single = FRAME.astype("float32")
    save("onnx float32", linear_graph(np.float32), [FRAME, single, ROWS, ROWS.astype("float32"), {"x": ROWS}])
    save("onnx float64", linear_graph(np.float64), [FRAME, ROWS, {"x": ROWS}])
    wanted = tensor_signature("float32", (None, (-1, 3)))
    save("onnx tensor", linear_graph(np.float32), [ROWS.astype("float32"), FRAME.astype("float32")], signature=wanted)
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])]
    several = graph(
        nodes,
        [column("a", TensorProto.FLOAT), column("b", TensorProto.FLOAT)],
        [column("sum", TensorProto.FLOAT), column("product", TensorProto.FLOAT)],
    )
    pair = {"a": np.float32([1, 2]), "b": np.float32([3, 4])}
    save("onnx several", several, [FRAME, pair], signature=None)
    wanted = tensor_signature("float32", ("a", (-1,)), ("b", (-1,)))
    save("onnx several tensors", several, [pair, pd.DataFrame(pair)], signature=wanted)
    classifier = helper.make_node(
        *("LinearClassifier", ["x"], ["label", "scores"]),
        domain="ai.onnx.ml",
        coefficients=[0.5, -1.0, 0.25, -0.5, 1.0, -0.25],
        intercepts=[0.1, -0.1],
        classlabels_strings=["no", "yes"],
        post_transform="SOFTMAX",
    )
    zipmap = helper.make_node("ZipMap", ["scores"], ["chances"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])
    chances = helper.make_value_info(
        "chances",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
        ),
    )
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])]
    outputs = [helper.make_tensor_value_info("label", TensorProto.STRING, [None]), chances]
    save("onnx zipmap", graph([classifier, zipmap], inputs, outputs), [FRAME, ROWS])
    encoder = helper.make_node(
        *("LabelEncoder", ["word"], ["number"]),
        domain="ai.onnx.ml",
        keys_strings=["red", "blue"],
        values_int64s=[1, 2],
        default_int64=-1,
    )
    words = graph([encoder], [column("word", TensorProto.STRING)], [column("number", TensorProto.INT64)])
    save("onnx texts", words, [np.array(["red", "green"], dtype=object)])
    return cases


def _catboost(root: Path) -> Cases:
    import mlflow.catboost
    from catboost import CatBoost, CatBoostClassifier, CatBoostRanker, CatBoostRegressor

    quiet = {"iterations": 5, "depth": 2, "verbose": False, "allow_writing_files": False, "thread_count": 1}
    target = [0, 1, 1, 2]
    words = pd.DataFrame({"a": FRAME["a"], "colour": ["red", "blue", "blue", "green"]})
    made = {
        "catboost regressor": (CatBoostRegressor(**quiet).fit(FRAME, FRAME["b"]), [FRAME, ROWS], "cbm"),
        "catboost classifier": (CatBoostClassifier(**quiet).fit(FRAME, target), [FRAME], "cbm"),
        "catboost binary": (CatBoostClassifier(**quiet).fit(FRAME, ["n", "y", "y", "n"]), [FRAME], "cbm"),
        "catboost texts": (
            CatBoostClassifier(**quiet).fit(words, [0, 1, 1, 0], cat_features=["colour"]),
            [words, words.assign(colour="of no kind")],
            "cbm",
        ),
        "catboost ranker": (CatBoostRanker(**quiet).fit(FRAME, [0, 1, 0, 1], group_id=[1, 1, 2, 2]), [FRAME], "cbm"),
        "catboost plain": (CatBoost(quiet | {"loss_function": "RMSE"}).fit(FRAME, target), [FRAME], "json"),
    }
    for name, (model, _, form) in made.items():
        mlflow.catboost.save_model(model, str(root / name), pip_requirements=["catboost"], format=form)
    wanted = signature(("double", "a"), ("string", "colour"))
    mlflow.catboost.save_model(
        made["catboost texts"][0], str(root / "catboost signed"), pip_requirements=["catboost"], signature=wanted
    )
    return {name: inputs for name, (_, inputs, _) in made.items()} | {"catboost signed": [words]}


def _statsmodels(root: Path) -> Cases:
    import mlflow.statsmodels
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    series = pd.Series(np.sin(np.arange(40) / 3) + np.arange(40) / 20)
    dated = series.set_axis(pd.date_range("2024-01-31", periods=40, freq="ME"))
    ahead = pd.DataFrame({"start": [40], "end": [43]})
    table = pd.DataFrame({"y": series, "a": np.arange(40.0) % 7, "kind": ["x", "y", "z", "x"] * 10})
    wide = np.column_stack([np.ones(40), table["a"]])
    made = {
        "statsmodels ols": (sm.OLS(series.to_numpy(), wide).fit(), [FRAME[["a", "b"]], ROWS[:, :2]], None),
        "statsmodels logit": (sm.Logit((series > 1).astype(int), wide).fit(disp=0), [FRAME[["a", "b"]]], None),
        "statsmodels formula": (
            smf.ols("y ~ a + np.square(a) + C(kind)", table).fit(),
            [table.head(5), table.head(3).assign(a=[1.0, None, 2.0])],
            None,
        ),
        "statsmodels arima": (sm.tsa.ARIMA(series, order=(1, 1, 0)).fit(), [ahead], None),
        "statsmodels arima signed": (
            sm.tsa.ARIMA(series, order=(1, 1, 0)).fit(),
            [ahead],
            signature(("long", "start"), ("long", "end")),
        ),
        "statsmodels dated": (
            sm.tsa.ARIMA(dated, order=(1, 0, 0)).fit(),
            [pd.DataFrame({"start": pd.to_datetime(["2027-05-31"]), "end": pd.to_datetime(["2027-07-31"])})],
            None,
        ),
    }
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    for name, (model, _, wanted) in made.items():
        mlflow.statsmodels.save_model(model, str(root / name), pip_requirements=["statsmodels"], signature=wanted)
    return {name: inputs for name, (_, inputs, _) in made.items()}


def _pytorch(root: Path) -> Cases:
    """Empty where torch is not installed: no extra of ours brings it."""
    try:
        import torch
    except ImportError:
        return {}
    import mlflow.pytorch

    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
    single = ROWS.astype("float32")
    plain = {"pip_requirements": ["torch"]}
    mlflow.pytorch.save_model(model, str(root / "pytorch pickle"), serialization_format="pickle", **plain)
    mlflow.pytorch.save_model(
        model,
        str(root / "pytorch tensor"),
        serialization_format="pickle",
        signature=tensor_signature("float32", (None, (-1, 3))),
        **plain,
    )
    mlflow.pytorch.save_model(
        model, str(root / "pytorch columns"), serialization_format="pickle", signature=signature(*_DOUBLES), **plain
    )
    found = {"pytorch pickle": [FRAME, single], "pytorch tensor": [single], "pytorch columns": [FRAME]}
    mlflow.pytorch.save_model(
        model, str(root / "pytorch pt2"), serialization_format="pt2", input_example=single, **plain
    )
    return found | {"pytorch pt2": [single]}


_DOUBLES = (("double", "a"), ("double", "b"), ("double", "c"))
