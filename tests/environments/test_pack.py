"""The environment that goes to the executors."""

import compileall
import importlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import tiltyard
from tests.environments.test_requirement_lines import wheel, write
from tiltyard.environments.pack import ARCHIVE, packed, take_compiled
from tiltyard.environments.requirements import of_model


def test_what_is_unpacked_elsewhere_has_the_models_packages_and_this_library(tmp_path: Path):
    """A host with the same Python runs the archive wherever it lies; no link in it leads anywhere."""
    folder = write(
        tmp_path / "model", {"requirements.txt": "-r more.txt\n", "more.txt": "./tydep-1.0-py3-none-any.whl\n"}
    )
    wheel(folder / "tydep-1.0-py3-none-any.whl", 7)
    directory = packed(of_model(folder), tmp_path / "cache")
    assert packed(of_model(folder), tmp_path / "cache") == directory
    with tarfile.open(directory / ARCHIVE) as archive:
        assert not any(entry.issym() for entry in archive)
        archive.extractall(tmp_path / "there", filter="data")
    shutil.rmtree(tmp_path / "cache")
    code = "import sys, tiltyard, tydep; print(tiltyard.__version__, tydep.NUMBER, sys.prefix)"
    said = subprocess.check_output([tmp_path / "there/bin/python", "-c", code], text=True, cwd=tmp_path)
    assert said.split() == [tiltyard.__version__, "7", str(tmp_path / "there")]


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
    take_compiled(ours, theirs)
    assert [path.name for path in package.rglob("*.pyc")] == [f"same.{sys.implementation.cache_tag}.pyc"]
    # Python itself takes it, as that of the file beside it.
    monkeypatch.syspath_prepend(str(theirs))
    found = importlib.import_module("packed_parts.same")
    assert str(package / "same.py") == found.WHERE
