"""An environment that can be sent to other hosts, for Spark's archives.

Beside the packages it has this library itself, and its archive lies in it. Its interpreter starts the one of this
process: who unpacks it needs the same Python at the same place, as for any packed environment.
"""

import shlex
import shutil
import struct
import sys
import sysconfig
import tarfile
from importlib import metadata
from pathlib import Path

from tiltyard.environments.build import environment
from tiltyard.environments.requirements import EnvironmentSpec, own_python

ARCHIVE = "packed.tar.gz"

_LAUNCHER = """#!/usr/bin/env bash
here="$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)"
exec -a "$here/python" {interpreter} "$@"
"""


def packed(spec: EnvironmentSpec, cache: Path) -> Path:
    """The folder of the environment with this process's Python; its archive is the file `ARCHIVE` in it.

    Raises: as `environment`.
    """
    lines = [line for line in metadata.requires("tiltyard") or [] if "extra ==" not in line]
    spec.lines.add(lines)
    beside = (sys.base_prefix, metadata.version("tiltyard"))
    return environment(spec._replace(python=own_python(), beside=beside), cache, _finish)


def _finish(directory: Path) -> None:
    python = directory / "bin" / "python"
    (site,) = directory.glob("lib/python*/site-packages")
    # This library in the very version that runs here, wherever that was installed from.
    own = Path(__file__).parents[1]
    shutil.copytree(own, site / own.name)
    about = site / f"tiltyard-{metadata.version('tiltyard')}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(metadata.distribution("tiltyard").read_text("METADATA") or "", encoding="utf-8")
    take_compiled(Path(sysconfig.get_path("purelib")), site)
    _replace_links(python)
    parts = sorted(directory.iterdir())
    # Stored and not compressed, which would take longer than it saves. Of a plain tar Spark loses the permissions.
    with tarfile.open(directory / ARCHIVE, "w:gz", compresslevel=0) as archive:
        for part in parts:
            archive.add(part, arcname=part.name, filter=lambda entry: None if entry.issym() else entry)


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
