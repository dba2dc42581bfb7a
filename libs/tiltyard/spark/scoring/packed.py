"""The Python environment that a model requires, built by uv and packed for Spark's archives.

environments/<digest>/         the environment; it is whole as soon as <digest>.tar.gz lies beside it
environments/<digest>.tar.gz   the same, packed
locks/environment-<digest>     held by the one process that builds

It has what the model's requirements file names, the libraries that score, and this library itself. Its interpreter
starts the driver's: executors need the same Python at the same place, as they do for any packed environment.
"""

import hashlib
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import sysconfig
import tarfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

import tiltyard
from tiltyard.cache.model_cache import ModelCache
from tiltyard.environments.requirements import parse_requirements
from tiltyard.errors import InternalError, InvalidParameterValue, MissingPackage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BUILD_TIMEOUT_S = 1800.0

# Held while functions are made. One thread may ask again: to register a function makes it.
_making = threading.RLock()

# What scores, beside the model's own requirements: in the driver's versions where the model does not say.
_RUNTIME = ("numpy", "pandas", "pyarrow", "cloudpickle", "skops")

_LAUNCHER = """#!/usr/bin/env bash
here="$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)"
exec -a "$here/python" {interpreter} "$@"
"""


@dataclass(frozen=True)
class PackedEnvironment:
    """A built environment: where it is on this host, its archive, and the name under which executors unpack it."""

    directory: Path
    archive: Path
    name: str

    def python_for(self, spark: "SparkSession") -> str:
        """The interpreter as the executors of `spark` find it, once they were given the archive.

        Raises:
            InvalidParameterValue: `spark` is a Connect session, whose server chooses the interpreter.
        """
        if not hasattr(spark, "_jvm"):
            raise InvalidParameterValue(
                "Invalid 'env': 'packed' is not supported over Spark Connect. Give the server the archive with "
                f"spark.addArtifact('{self.archive}#{self.name}', archive=True), set "
                f"spark.sql.execution.pyspark.python to './{self.name}/bin/python', and use env='local'."
            )
        context: Any = spark.sparkContext
        if context.master.startswith("local") and not context.master.startswith("local-cluster"):
            # Executors are this process, and its directory is not theirs to unpack into.
            return str(self.directory / "bin" / "python")
        context.addArchive(f"{self.archive.as_uri()}#{self.name}")
        return f"./{self.name}/bin/python"


@contextmanager
def executors_python(spark: "SparkSession", python: str | None) -> "Iterator[None]":
    """Functions of Python that are made within the block run with the interpreter `python` on the executors.

    None is that of the session. The interpreter is noted for the whole driver, so threads take turns.
    """
    if not hasattr(spark, "_jvm"):
        yield
        return
    context: Any = spark.sparkContext
    with _making:
        before = context.pythonExec
        if python is not None:
            context.pythonExec = python
        try:
            yield
        finally:
            context.pythonExec = before


def build(requirements: Sequence[str], *, cache_dir: Path | None = None) -> PackedEnvironment:
    """The environment that `requirements`, the lines of a model's file, ask for; built when it is not there yet.

    Raises:
        MissingPackage: there is no uv to build it with.
        InternalError: uv could not build it; the message has its last words.
    """
    lines = _lines(requirements)
    asked = [f"{sys.version_info.major}.{sys.version_info.minor}", sys.base_prefix, metadata.version("tiltyard"), lines]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    cache = ModelCache(cache_dir).root
    folder, locks = cache / "environments", cache / "locks"
    for directory in (folder, locks):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = PackedEnvironment(folder / digest, folder / f"{digest}.tar.gz", f"tiltyard-env-{digest[:16]}")
    with FileLock(locks / f"environment-{digest}"):
        if not made.archive.exists():
            _build(made, lines)
    return made


def _build(made: PackedEnvironment, lines: Sequence[str]) -> None:
    shutil.rmtree(made.directory, ignore_errors=True)
    uv = _uv()
    _run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(made.directory)])
    python = made.directory / "bin" / "python"
    _run([uv, "pip", "install", "--quiet", "--python", str(python), *lines])
    (site,) = made.directory.glob("lib/python*/site-packages")
    # This library in the very version that the driver runs, wherever that was installed from.
    own = Path(tiltyard.__file__).parent
    shutil.copytree(own, site / own.name)
    take_compiled(Path(sysconfig.get_path("purelib")), site)
    _replace_links(python)
    partial = made.archive.with_name(f"{uuid.uuid4().hex}.partial")
    # Stored and not compressed, which would take longer than it saves. Of a plain tar Spark loses the permissions.
    with tarfile.open(partial, "w:gz", compresslevel=0) as archive:
        for part in sorted(made.directory.iterdir()):
            archive.add(part, arcname=part.name, filter=lambda entry: None if entry.issym() else entry)
    partial.replace(made.archive)


def take_compiled(ours: Path, theirs: Path) -> None:
    """Copies the bytecode of packages that lie in both folders, so that not every executor compiles them anew.

    Python takes bytecode of a file of this very time and size, and no other is copied.
    """
    for package in theirs.iterdir():
        for compiled in (ours / package.name).rglob(f"__pycache__/*.{sys.implementation.cache_tag}.pyc"):
            place = theirs / compiled.relative_to(ours)
            try:
                written = (place.parents[1] / f"{place.name.partition('.')[0]}.py").stat()
            except FileNotFoundError:
                continue
            with compiled.open("rb") as file:
                expected = struct.pack("<4xII", int(written.st_mtime) & 0xFFFFFFFF, written.st_size & 0xFFFFFFFF)
                same = file.read(16)[4:] == expected
            if same:
                place.parent.mkdir(exist_ok=True)
                shutil.copyfile(compiled, place)


def _replace_links(python: Path) -> None:
    """Makes a script of the link to the interpreter: Spark unpacks no link that leads out of an archive.

    The name that it gives the interpreter is what tells that one in which environment it runs.
    """
    interpreter = python.resolve()
    python.unlink()
    python.write_text(_LAUNCHER.format(interpreter=shlex.quote(str(interpreter))))
    python.chmod(0o755)


def _lines(requirements: Sequence[str]) -> list[str]:
    """What uv installs: the model's requirements without MLflow, and what scores."""
    wanted = parse_requirements(requirements)
    found = [f"{name}{specifier}" for name, specifier in wanted.items()]
    found += [f"{name}=={metadata.version(name)}" for name in _RUNTIME if name not in wanted]
    own = metadata.requires("tiltyard") or []
    return sorted(found + [line for line in own if "extra ==" not in line])


def _uv() -> str:
    try:
        from uv import find_uv_bin
    except ImportError:
        found = shutil.which("uv")
    else:
        found = os.fspath(find_uv_bin())
    if found is None:
        raise MissingPackage("env='packed' needs uv to build the model's environment. Install it with: pip install uv")
    return found


def _run(words: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        words, check=False, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S
    )
    if done.returncode:
        raise InternalError(f"uv could not build the model's environment: {done.stderr.strip()[-1000:]}")
