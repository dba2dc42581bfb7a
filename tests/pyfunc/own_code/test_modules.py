"""A model runs the Python files that it brings, whatever else the process has imported."""

import gc
import importlib
import json
import pickle
import sys
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import joblib
import pandas as pd
import pytest

from tests.fixtures.waiting import wait_until
from tiltyard import pyfunc
from tiltyard.errors import InvalidParameterValue, MissingPackage
from tiltyard.pyfunc.own_code import imports as model_imports
from tiltyard.pyfunc.own_code.modules import forget_gone

ROWS = pd.DataFrame({"a": [0.0]})
ENTRY = """
{top}
class Model:
    def predict(self, data):
{body}
def _load_pyfunc(path):
{load}
    return Model()
"""


def write(path: Path, code: Mapping[str, str], *, loader: str = "entry", **settings: Any) -> Path:
    """A model directory with the files in its `code` directory."""
    for name, text in code.items():
        file = path / "code" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    flavor = {"loader_module": loader, "code": "code", **settings}
    (path / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    return path


def entry(body: str, *, top: str = "", load: str = "pass") -> str:
    """A loader module whose model answers with what `body` returns."""

    def indented(text: str, width: int) -> str:
        return "\n".join(" " * width + line for line in text.splitlines())

    return ENTRY.format(top=top, body=indented(body, 8), load=indented(load, 4))


def answers(folder: Path, body: str, **more: str) -> list[Any]:
    """What versions 1, 2 and then 1 again answer, loaded side by side."""
    models = [pyfunc.load(write(folder / str(v), {**own(v), "entry.py": entry(body, **more)})) for v in (1, 2)]
    return [model.predict(ROWS) for model in (*models, models[0])]


def own(version: int) -> dict[str, str]:
    """The files of one version, which are all about its number."""
    value = f"VALUE = {version}\nclass Scaler:\n    value = {version}\ndef value():\n    return {version}\n"
    hints = "from __future__ import annotations\nfrom dataclasses import dataclass\nclass Own: pass\n"
    return {
        "helper.py": value,
        "late.py": "import helper\nVALUE = helper.VALUE\n",
        "statistics.py": value,
        "joblib_helpers.py": value,
        "pkg/__init__.py": "",
        "pkg/data.txt": str(version),
        "pkg/sub.py": value,
        "pkg/inner/__init__.py": "from ..sub import VALUE\n",
        "pkg/inner/deep.py": "def value():\n    from ..sub import value\n    return value()\n",
        "folder/part.py": value,
        "requests/__init__.py": "from .inner import VALUE\n",
        "requests/inner.py": value,
        "lazy/__init__.py": "def __getattr__(name):\n    import importlib\n"
        "    return importlib.import_module(f'.{name}', __name__)\n",
        "lazy/part.py": value,
        "as_main/__init__.py": "",
        "as_main/__main__.py": f"VALUE = {version}\n",
        "forward.py": "from __future__ import annotations\nimport pydantic\n"
        "class Outer(pydantic.BaseModel):\n    later: Later | None = None\n"
        f"class Later(pydantic.BaseModel):\n    version: int = {version}\n",
        "typed.py": f"{hints}@dataclass\nclass Row:\n    own: Own\n    version = {version}\n",
    }


KINDS = {
    "at the top": ("return VALUE", "from helper import VALUE"),
    "while predicting": ("import helper\nreturn helper.VALUE", ""),
    "of a module of its own": ("import late\nreturn late.VALUE", ""),
    "a submodule": ("return pkg.sub.VALUE", "import pkg.sub"),
    "a submodule while predicting": ("import pkg.inner.deep as deep\nreturn deep.value()", ""),
    "relative": ("from pkg.inner import VALUE\nreturn VALUE", ""),
    "from a package": ("from pkg import sub\nreturn sub.VALUE", "import pkg"),
    "by name": ("import importlib\nreturn importlib.import_module('helper').VALUE", ""),
    "a submodule by name": ("return import_module('pkg.sub').VALUE", "from importlib import import_module"),
    "relative by name": ("import importlib\nreturn importlib.import_module('..sub', 'pkg.inner').VALUE", ""),
    "by the builtin": ("return __import__('helper').VALUE", ""),
    "in a thread": (
        "from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "def work():\n    import helper\n    return helper.VALUE\n"
        "with Pool(1) as pool:\n    return pool.submit(work).result()",
        "",
    ),
    "by a pickle": ("import pickle\nreturn pickle.loads(b'chelper\\nScaler\\n.').value", ""),
    "by an unpickler": (
        "return pickle.Unpickler(io.BytesIO(b'cpkg.sub\\nScaler\\n.')).load().value",
        "import io, pickle",
    ),
    "by a pickle of its own": ("return loads(dumps(Scaler)).value", "from pickle import *\nfrom helper import Scaler"),
    "a standard name": ("import statistics\nreturn statistics.VALUE", ""),
    "a standard name in a pickle": ("import pickle\nreturn pickle.loads(b'cstatistics\\nScaler\\n.').value", ""),
    "a standard name by name": ("import importlib\nreturn importlib.import_module('statistics').VALUE", ""),
    "a folder": ("from folder.part import VALUE\nreturn VALUE", ""),
    "by hints": (
        "from typing import get_type_hints\nassert get_type_hints(Row)\nreturn Row.version",
        "from typed import Row",
    ),
    "its files": ("import pkgutil\nreturn int(pkgutil.get_data('pkg', 'data.txt'))", ""),
    "its resources": (
        "return int(files('pkg').joinpath('data.txt').read_text())",
        "from importlib.resources import files",
    ),
    "its resources by module": (
        "return int(files(pkg).joinpath('data.txt').read_text())",
        "from importlib.resources import files\nimport pkg",
    ),
    "where it was found": (
        "import importlib.util\nassert importlib.util.find_spec('helper')\nreturn helper.VALUE",
        "import helper",
    ),
    "a name of the environment": ("import requests\nreturn requests.VALUE", ""),
    "a name of the environment by name": (
        "return import_module('requests.inner').VALUE",
        "from importlib import import_module",
    ),
    "when it is asked for": ("import lazy\nreturn lazy.part.VALUE", ""),
    "by references between classes": ("return Outer(later={}).later.version", "from forward import Outer"),
    "its source": ("return int(inspect.getsource(helper.value).split('return')[1])", "import helper, inspect"),
    "as a program": ("import runpy\nreturn runpy.run_module('as_main')['VALUE']", ""),
    "by code that it makes": ("names = {}\nexec('from helper import VALUE', names)\nreturn names['VALUE']", ""),
    "by a pool's call": (
        "with Pool(1) as pool:\n    return pool.submit(importlib.import_module, 'helper').result().VALUE",
        "import importlib\nfrom concurrent.futures import ThreadPoolExecutor as Pool",
    ),
    "by a thread's call": (
        "with ThreadPool(1) as pool:\n    return pool.map(pickle.loads, [b'chelper\\nScaler\\n.'])[0].value",
        "import pickle\nfrom multiprocessing.pool import ThreadPool",
    ),
    "by a file put into sys.modules": (
        "if 'extra' not in sys.modules:\n"
        "    spec = util.spec_from_file_location('extra', os.path.join(os.path.dirname(__file__), 'helper.py'))\n"
        "    sys.modules['extra'] = module = util.module_from_spec(spec)\n    spec.loader.exec_module(module)\n"
        "import extra\nreturn extra.VALUE",
        "import importlib.util as util, os, sys",
    ),
    "loaded again": ("import importlib, helper\nreturn importlib.reload(helper).VALUE", ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_version_imports_its_own(tmp_path: Path, kind: str) -> None:
    """Two versions with modules of the same names answer with their own, however these are imported."""
    body, top = KINDS[kind]
    assert answers(tmp_path, body, top=top) == [1, 2, 1]


def test_versions_that_load_and_answer_at_once_keep_apart(tmp_path: Path) -> None:
    """Threads that load two versions, whose helpers are imported at the first answer, each get their own."""
    body = "import pkg.inner.deep as deep, pickle\nreturn [deep.value(), pickle.loads(b'chelper\\nScaler\\n.').value]"
    folders = [write(tmp_path / str(v), {**own(v), "entry.py": entry(body)}) for v in (1, 2)]
    together = threading.Barrier(8, timeout=60)

    def load_and_ask(folder: Path) -> list[Any]:
        together.wait()
        model = pyfunc.load(folder)
        together.wait()
        return [model.predict(ROWS) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load_and_ask, folders * 4))
    assert found == [[[v, v]] * 20 for v in (1, 2)] * 4


def test_modules_that_the_process_has_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module beside the caller's notebook is theirs, the model's of that name is the model's."""
    (tmp_path / "helper.py").write_text("VALUE = 'theirs'\nclass Scaler:\n    value = 'theirs'\n")
    monkeypatch.syspath_prepend(tmp_path)
    # Taken out again afterwards.
    monkeypatch.setitem(sys.modules, "helper", ModuleType("helper"))
    del sys.modules["helper"]
    theirs = importlib.import_module("helper")
    joblib.dump(theirs.Scaler, tmp_path / "scaler.joblib")
    load = f"import joblib\nModel.read = joblib.load({str(tmp_path / 'scaler.joblib')!r})"
    body = "import joblib, pickle\nreturn [self.read.value, VALUE, pickle.loads(b'chelper\\nScaler\\n.').value]"
    assert answers(tmp_path, body, top="from helper import VALUE", load=load) == [[1] * 3, [2] * 3, [1] * 3]
    assert importlib.import_module("helper") is theirs
    assert pickle.loads(b"chelper\nScaler\n.").value == "theirs"


@pytest.mark.parametrize("when", ["load", "body"])
def test_joblib_reads_classes_of_the_model(tmp_path: Path, when: str) -> None:
    """What joblib reads by reference is of the model that reads it."""
    steps = {"body": "return self.read().value", "load": "pass"}
    write(tmp_path / "own", own(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path / "own" / "code")
        joblib.dump(importlib.import_module("joblib_helpers").Scaler, tmp_path / "scaler.joblib")
        del sys.modules["joblib_helpers"]
    read = f"joblib.load({str(tmp_path / 'scaler.joblib')!r})"
    steps["load"] = f"read = {read}\nModel.read = lambda self: read" if when == "load" else "pass"
    top = "import joblib" if when == "load" else f"import joblib\nread = lambda self: {read}"
    body = "return self.read().value" if when == "load" else "return read(self).value"
    assert answers(tmp_path, body, top=top, load=steps["load"]) == [1, 2, 1]


PATHS = {
    "a folder put on the path": "import sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'more'))",
    "a new path": "import sys\nsys.path = [*sys.path, os.path.join(os.path.dirname(__file__), 'more')]",
    "a file named": (
        "import sys, importlib.util as util\n"
        "spec = util.spec_from_file_location('extra', os.path.join(os.path.dirname(__file__), 'more', 'extra.py'))\n"
        "sys.modules['extra'] = module = util.module_from_spec(spec)\nspec.loader.exec_module(module)"
    ),
}


@pytest.mark.parametrize("way", PATHS)
def test_what_its_code_adds_to_the_process_stays_its_own(tmp_path: Path, way: str) -> None:
    """A model that extends `sys.path` or `sys.modules` by its own files does so for itself."""
    path, names = list(sys.path), set(sys.modules)
    models = []
    for v in (1, 2):
        code = entry("import extra\nreturn [extra.VALUE, extra.late()]", top="import os", load=PATHS[way])
        extra = f"VALUE = {v}\ndef late():\n    import helper\n    return helper.VALUE\n"
        models.append(pyfunc.load(write(tmp_path / str(v), {**own(v), "entry.py": code, "more/extra.py": extra})))
    assert [model.predict(ROWS) for model in (*models, models[0])] == [[1, 1], [2, 2], [1, 1]]
    assert sys.path == path
    assert not {"extra", "helper", "entry"} & (sys.modules.keys() - names)


def standing(folder: Path) -> list[str]:
    """The names in `sys.modules` of models in a folder."""
    owners = {name: vars(module).get(model_imports.OWNER) for name, module in sys.modules.copy().items()}
    return [name for name, owner in owners.items() if owner and owner.directory.startswith(str(folder.resolve()))]


def wait_until_forgotten(folder: Path) -> None:
    """Ends the places of models that are used no more, unless a thread that gives memory back is at it."""

    def are_forgotten() -> bool:
        gc.collect()
        forget_gone()
        return not standing(folder)

    wait_until(are_forgotten)


def test_nothing_of_a_model_is_left(tmp_path: Path) -> None:
    """`sys.path` stays as it was, the names stay free, and the modules go with the model."""
    path, names = list(sys.path), set(sys.modules)
    model = pyfunc.load(
        write(tmp_path, {**own(1), "entry.py": entry("import pkg.inner\nreturn 1", top="import helper")})
    )
    model.predict(ROWS)
    assert sys.path == path
    assert not [name for name in sys.modules.keys() - names if not name.startswith(model_imports.ROOT)
                and str(tmp_path) in str(getattr(sys.modules[name], "__file__", None))]  # fmt: skip
    gone = weakref.ref(type(model.model))
    assert standing(tmp_path)
    del model
    wait_until_forgotten(tmp_path)
    wait_until(lambda: (gc.collect(), gone())[1] is None)
    assert not list((tmp_path / "code").rglob("*.pyc")), "the model's directory is left as it is"


def test_the_authors_object_outlives_the_model(tmp_path: Path) -> None:
    """Who keeps the author's object alone keeps what it imports."""
    kept = pyfunc.load(
        write(tmp_path, {**own(1), "entry.py": entry("from pkg.inner import deep\nreturn deep.value()")})
    ).model
    wait_until_forgotten(tmp_path)
    assert kept.predict(ROWS) == 1


def test_a_directory_written_anew_is_read_anew(tmp_path: Path) -> None:
    """A changed file counts, also when it was changed within the same second to the same size."""
    code = {"entry.py": entry("return VALUE", top="from helper import VALUE")}
    first = pyfunc.load(write(tmp_path, {**code, **own(1)}))
    second = pyfunc.load(write(tmp_path, {**code, **own(2), "added.py": ""}))
    assert [first.predict(ROWS), second.predict(ROWS)] == [1, 2]


def test_what_is_missing_is_named_as_the_author_knows_it(tmp_path: Path) -> None:
    """A module that one model brings is missing to another, by its own name, and to everybody else."""
    first = pyfunc.load(write(tmp_path / "1", {**own(1), "entry.py": entry("import helper\nreturn 1")}))
    assert first.predict(ROWS) == 1
    with pytest.raises(MissingPackage, match="needs the module 'helper'"):
        pyfunc.load(write(tmp_path / "2", {"entry.py": entry("return 1", top="import helper")}))
    late = pyfunc.load(write(tmp_path / "3", {"entry.py": entry("import helper\nreturn 1")}))
    with pytest.raises(ModuleNotFoundError, match="No module named 'helper'"):
        late.predict(ROWS)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("helper")
    inner = pyfunc.load(write(tmp_path / "4", {**own(1), "entry.py": entry("import pkg.nothing")}))
    with pytest.raises(ModuleNotFoundError) as caught:
        inner.predict(ROWS)
    assert caught.value.name == "pkg.nothing"
    assert model_imports.ROOT not in str(caught.value)


def test_shared_code_never_gets_a_models_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the environment that tries an optional import while a model runs does not get the model's."""
    shared = "try:\n    import helper\nexcept ImportError:\n    helper = None\n"
    (tmp_path / "shared_package.py").write_text(shared)
    monkeypatch.syspath_prepend(tmp_path)
    body = "import shared_package\nreturn shared_package.helper"
    assert answers(tmp_path, body, top="import helper") == [None] * 3
    sys.modules.pop("shared_package")


def by_value(definition: str) -> Any:
    """The class `Model` that the text defines, as if in a notebook: it is pickled with its code."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(definition, names)
    return names["Model"]


def save_python_model(path: Path, code: Mapping[str, str], model: Any) -> Path:
    """A PythonModel as MLflow stores it."""
    write(path, code, loader="mlflow.pyfunc.model", python_model="python_model.pkl")
    (path / "python_model.pkl").write_bytes(cloudpickle.dumps(model))
    return path


@pytest.mark.parametrize("flavor", ["python model", "sklearn"])
def test_a_class_pickled_with_its_code_imports_its_own(tmp_path: Path, flavor: str) -> None:
    """A class from a notebook whose methods import helpers gets those of its version, also in nested functions."""
    cls = by_value(
        "class Model:\n"
        "    def predict(self, model_input):\n"
        "        def inner():\n            from pkg.inner import deep\n            return deep.value()\n"
        "        import helper\n        return [helper.VALUE, inner()]\n"
    )
    models = []
    for v in (1, 2):
        path = save_python_model(tmp_path / str(v), own(v), cls())
        if flavor == "sklearn":
            write(path, {}, loader="mlflow.sklearn", model_path="python_model.pkl")
        models.append(pyfunc.load(path))
    assert [model.predict(ROWS) for model in (*models, models[0])] == [[1, 1], [2, 2], [1, 1]]


def test_one_class_saved_twice_is_two_classes(tmp_path: Path) -> None:
    """Versions logged from one session, which changed the class in between, keep what each was saved with."""
    cls = by_value(
        "class Model:\n    threshold = 1\n    def predict(self, model_input):\n        return self.threshold\n"
    )
    models = []
    for v in (1, 2):
        cls.threshold = v
        models.append(pyfunc.load(save_python_model(tmp_path / str(v), {"none.py": ""}, cls())))
    assert [model.predict(ROWS) for model in (*models, models[0])] == [1, 2, 1]


def test_transformers_are_pickled_by_reference(tmp_path: Path) -> None:
    """A pipeline whose transformer is in `code_paths` transforms with its version's class, in each format."""
    source = (
        "from sklearn.base import BaseEstimator, TransformerMixin\n"
        "class Plus(TransformerMixin, BaseEstimator):\n"
        "    def fit(self, X, y=None):\n        self.n_features_in_ = X.shape[1]\n        return self\n"
        "    def transform(self, X):\n        return X + {v}\n"
    )
    from sklearn.pipeline import make_pipeline

    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "transformers_here.py").write_text(source.format(v=0))
        patch.syspath_prepend(tmp_path)
        pipeline = make_pipeline(importlib.import_module("transformers_here").Plus()).fit(ROWS)
        data = {"pickle": pickle.dumps(pipeline), "cloudpickle": cloudpickle.dumps(pipeline)}
        del sys.modules["transformers_here"]
    for kind, content in data.items():
        models = []
        for v in (1, 2):
            path = tmp_path / kind / str(v)
            write(path, {"transformers_here.py": source.format(v=v)}, loader="mlflow.sklearn", model_path="m.pkl",
                  predict_fn="transform")  # fmt: skip
            (path / "m.pkl").write_bytes(content)
            models.append(pyfunc.load(path))
        assert [float(model.predict(ROWS)["a"].iloc[0]) for model in (*models, models[0])] == [1, 2, 1]


def test_models_from_code_import_their_own(tmp_path: Path) -> None:
    """A model that is a file imports its helpers from its own code directory, when it runs and later."""
    code = (
        "import mlflow\nfrom helper import VALUE\n"
        "class Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input):\n        import late\n        return [VALUE, late.VALUE]\n"
        "mlflow.models.set_model(Model())\n"
    )
    models = []
    for v in (1, 2):
        path = write(
            tmp_path / str(v), own(v), loader="mlflow.pyfunc.loaders.code_model", model_code_path="/x/model.py"
        )
        (path / "model.py").write_text(code)
        models.append(pyfunc.load(path))
    assert [model.predict(ROWS) for model in (*models, models[0])] == [[1, 1], [2, 2], [1, 1]]


def test_a_loaded_model_can_be_pickled_for_elsewhere(tmp_path: Path) -> None:
    """cloudpickle writes an object of the model's own class with its code, as no other process has its module."""
    model = pyfunc.load(write(tmp_path, {**own(1), "entry.py": entry("return VALUE", top="VALUE = 5")}))
    data = cloudpickle.dumps(model.model)
    del model
    wait_until_forgotten(tmp_path)
    assert cloudpickle.loads(data).predict(ROWS) == 5


def test_a_load_whose_imports_met_anothers_is_repeated(tmp_path: Path) -> None:
    """Python gives up an import that waits for another thread in a circle: the load is done again at once."""
    load = (
        "from importlib._bootstrap import _DeadlockError\nimport os\nfile = os.path.join(path, 'tried')\n"
        "if not os.path.exists(file):\n    open(file, 'w').close()\n    raise _DeadlockError('a circle')"
    )
    assert pyfunc.load(write(tmp_path, {"entry.py": entry("return 1", load=load)})).predict(ROWS) == 1


def test_libraries_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    """The dynamic loader knows a library by its name alone: a second one of that name is refused, with a way out."""
    for v in ("1", "2"):
        (tmp_path / v / "code").mkdir(parents=True)
        (tmp_path / v / "code" / "libown_of_test.so").write_text(v)
        write(tmp_path / v, {"entry.py": entry("return 1")})
    for _ in range(2):
        assert pyfunc.load(tmp_path / "1").predict(ROWS) == 1
    with pytest.raises(InvalidParameterValue, match=r"libown_of_test\.so.*isolation 'process'"):
        pyfunc.load(tmp_path / "2")


def test_a_lookup_that_cannot_be_answered_says_the_way_out(tmp_path: Path) -> None:
    """Code that reads `sys.modules` itself is told to be isolated, instead of getting another model's module."""
    code = {**own(1), "entry.py": entry("return 1", load="import helper, sys\nsys.modules['helper']")}
    with pytest.raises(InvalidParameterValue, match=r"'helper'.*isolation 'process'"):
        pyfunc.load(write(tmp_path, code))


def test_a_load_bears_imports_that_the_collector_sets_off(tmp_path: Path) -> None:
    """What an object's end imports, in the middle of a load, does not end that load."""
    named: list[str] = []

    def imports(_phase: str, _info: Mapping[str, int]) -> None:
        named.append(f"_imported_by_the_end_of_{len(named)}")
        sys.modules[named[-1]] = ModuleType(named[-1])

    path = write(tmp_path, {"entry.py": entry("return 1")})
    before = gc.get_threshold()
    gc.callbacks.append(imports)
    gc.set_threshold(1)
    try:
        model = pyfunc.load(path)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(imports)
        for name in named:
            del sys.modules[name]
    assert named
    assert model.predict(ROWS) == 1


def test_the_end_of_a_model_disturbs_nobody(tmp_path: Path) -> None:
    """What the collector finds to be gone leaves `sys.modules` as it is, for somebody may be going through it."""
    model = pyfunc.load(write(tmp_path, {**own(1), "entry.py": entry("return 1", top="import helper")}))
    root, names = type(model.model).__module__.partition(".")[0], set(sys.modules)
    assert root in names
    del model
    gc.collect()
    assert names == set(sys.modules)
    pyfunc.load(write(tmp_path, {"entry.py": entry("return 1")}))
    assert root not in sys.modules
