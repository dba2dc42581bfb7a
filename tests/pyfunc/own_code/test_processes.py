"""Processes that a model's code starts run the files of that model, also where they were not forked."""

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest

from tests.pyfunc.own_code.test_modules import answers, entry, own, write
from tiltyard import pyfunc
from tiltyard.pyfunc.own_code.children import read_here
from tiltyard.pyfunc.own_code.modules import forget_gone, living

WORK = """
class Thing:
    value = {version}
    def late(self):
        import helper
        return helper.VALUE
def make():
    return Thing()
def work(x):
    import helper
    return helper.VALUE + x
"""
JOBLIB = """
things = Parallel(2)([delayed(make)(), delayed(Thing().late)(), delayed(work)(0)])
def inner(x):
    import late
    return [late.VALUE, value()]
made = Parallel(2)([delayed(inner)(0), delayed(lambda x: __import__("pkg.sub").sub.VALUE)(0)])
assert type(things[0]) is Thing
return [things[0].value, *things[1:], *made[0], made[1]]
"""
SPAWN = """
with get_context("spawn").Pool(1) as pool:
    made = pool.apply(make)
    assert type(made) is Thing
    return [made.value, made.late(), pool.apply(Thing().late), *pool.map(work, [0, 0]), value()]
"""


@pytest.fixture(autouse=True)
def workers_of_joblib() -> Iterator[None]:
    """They are ended: others would meet them."""
    yield
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@pytest.mark.parametrize(
    ("body", "top"),
    [(JOBLIB, "from joblib import Parallel, delayed"), (SPAWN, "from multiprocessing import get_context")],
    ids=["joblib", "spawn"],
)
def test_processes_of_a_model_run_its_files(tmp_path: Path, body: str, top: str) -> None:
    """Functions, methods, closures and answers cross between a model and its processes as what they are there."""
    for v in (1, 2):
        write(tmp_path / str(v), {"work.py": WORK.format(version=v)})
    found = answers(tmp_path, body, top=f"{top}\nfrom work import Thing, make, work\nfrom helper import value")
    assert found == [[1] * 6, [2] * 6, [1] * 6]
    assert not read_here


def test_what_was_handed_to_processes_keeps_no_model(tmp_path: Path) -> None:
    """A model that is used no more goes, whatever it has given to other processes."""
    model: Any = pyfunc.load(write(tmp_path, {**own(1), "entry.py": entry("return 1", top="from helper import value")}))
    (key,) = [key for key, modules in living.items() if modules.directory == str(tmp_path.resolve())]
    assert bytes(ForkingPickler.dumps(type(model.model)))
    del model
    gc.collect()
    forget_gone()
    gc.collect()
    assert key not in living


def test_a_model_alone_stands_in_the_process_as_any_module_does(tmp_path: Path) -> None:
    """Where there is no other model, its modules are found by their own names, and a thread of anybody's finds them."""
    load = "import helper\nassert sys.modules['helper'].VALUE == VALUE\nModel.read = sys.modules['helper'].VALUE"
    body = "import pydoc\nreturn [self.read, pydoc.locate('pkg.sub.Scaler').value, sys.modules['late'].VALUE]"
    top = "import sys, late\nfrom helper import VALUE"
    path = write(tmp_path, {**own(3), "entry.py": entry(body, top=top, load=load)})
    code = (
        "import json, pickle, sys, threading\nfrom tiltyard import pyfunc\n"
        "model = pyfunc.load(sys.argv[1], alone=True)\nfound = [model.predict({'a': [0.0]})]\n"
        "def read():\n    found.append(pickle.loads(b'chelper\\nScaler\\n.').value)\n"
        "thread = threading.Thread(target=read)\nthread.start()\nthread.join()\nprint(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [[3, 3, 3], 3]
