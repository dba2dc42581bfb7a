"""Environments that models ask for, built by uv, once each.

environments/<digest>/                one whole environment; it appears by a rename or not at all
partial/environment-<digest>-…/       builds in progress, or left by a killed process
locks/environment-<digest>            held by the one process that builds
"""

import logging
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from tiltyard.cache.file_lock import locked
from tiltyard.cache.private_directory import private_directory
from tiltyard.environments.requirements import EnvironmentSpec, own_python
from tiltyard.errors import MissingPackage

BUILD_TIMEOUT_S = 1800.0

_log = logging.getLogger(__name__)


def environment(spec: EnvironmentSpec, cache: Path, finish: Callable[[Path], object] = lambda _partial: None) -> Path:
    """The folder of the environment, built below `cache` when it is not there yet; `finish` adds what it has beside.

    Builds are single: threads and processes that want the same environment wait for the one that builds it.

    Raises:
        MissingPackage: there is no uv to build it with.
        subprocess.CalledProcessError: uv could not build it, and said why on its standard error.
    """
    whole = private_directory(cache / "environments") / spec.digest
    if whole.exists():
        return whole
    uv = _uv()
    partials, locks = private_directory(cache / "partial"), private_directory(cache / "locks")
    name = f"environment-{whole.name}"
    with locked(locks / name):
        # Whoever holds the lock is alive, so these are of the dead.
        for left_over in partials.glob(f"{name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        if not whole.exists():
            partial = partials / f"{name}-{uuid.uuid4().hex}"
            try:
                _build(uv, spec, partial)
                finish(partial)
                partial.rename(whole)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return whole


def _build(uv: str, spec: EnvironmentSpec, partial: Path) -> None:
    _log.info("building an environment with Python %s and %s", spec.python, ", ".join(spec.lines.requirements))
    # The interpreter of this process saves a download when it is of the version that is wanted.
    interpreter = sys.executable if spec.python == own_python() else spec.python
    config = _config()
    venv = [uv, "venv", *config, "--no-project", "--relocatable", "--python", interpreter, str(partial)]
    _run(venv, partial.parent)
    install = [uv, "pip", "install", *config, "--python", str(partial / "bin" / "python")]
    for flag, lines in (("-r", spec.lines.requirements), ("-c", spec.lines.constraints)):
        told = partial / f"lines{flag}.txt"
        told.write_text("\n".join(lines) + "\n", encoding="utf-8")
        install += [flag, str(told)]
    _run(install, partial)


def _config() -> list[str]:
    """The user's own configuration of uv, and none of a folder: neither of the model's nor of a project around."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    path = Path(folder) / "uv" / "uv.toml"
    return ["--config-file", str(path)] if path.is_file() else ["--no-config"]


def _run(command: list[str], directory: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    subprocess.run(  # noqa: S603 - a list of arguments, no shell
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=True,
    )


def _uv() -> str:
    try:
        from uv import find_uv_bin

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise MissingPackage(
            "The environment that a model asks for is built with uv: install 'tiltyard[isolation]', or put uv on the "
            "PATH."
        )
    return found
