"""The environment that goes to the executors."""

import compileall
import importlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from tiltyard.environments.pack import _take_compiled


def test_bytecode_of_the_same_files_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of the driver's release arrives compiled; of a file that is another one, or absent, nothing is."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    (ours / "packed_parts").mkdir(parents=True)
    for name in ("same", "changed", "absent", "touched"):
        (ours / "packed_parts" / f"{name}.py").write_text("WHERE = __file__\n")
    compileall.compile_dir(ours, quiet=1)
    shutil.copytree(ours, theirs, ignore=shutil.ignore_patterns("__pycache__", "absent.py"))
    package = theirs / "packed_parts"
    before = (package / "changed.py").stat()
    (package / "changed.py").write_text("WHERE = 'elsewhere'\n")
    os.utime(package / "changed.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(package / "touched.py", (1_000_000, 1_000_000))
    _take_compiled(ours, theirs)
    assert [path.name for path in package.rglob("*.pyc")] == [f"same.{sys.implementation.cache_tag}.pyc"]
    # Python itself takes it, as that of the file beside it.
    monkeypatch.syspath_prepend(str(theirs))
    found = importlib.import_module("packed_parts.same")
    assert str(package / "same.py") == found.WHERE
