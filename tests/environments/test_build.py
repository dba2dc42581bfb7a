"""Environments are built once, by whoever comes first, and are whole or not there."""

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.environments.test_requirement_lines import wheel, write
from tiltyard.environments import build
from tiltyard.environments.build import environment
from tiltyard.environments.requirements import of_model


def asked(tmp_path: Path) -> Path:
    """A model that asks for a package that lies beside it."""
    folder = write(tmp_path / "model", {"requirements.txt": "./tydep-1.0-py3-none-any.whl\n"})
    wheel(folder / "tydep-1.0-py3-none-any.whl", 1)
    return folder


def test_threads_that_want_one_environment_build_one(tmp_path: Path) -> None:
    """All get the same folder, and it was finished once, before anybody saw it."""
    folder, cache = asked(tmp_path), tmp_path / "cache"
    finished: list[Path] = []

    def finish(partial: Path) -> None:
        assert partial.parent == cache / "partial"
        finished.append(partial)

    with ThreadPoolExecutor(3) as pool:
        given = set(pool.map(lambda _: environment(of_model(folder), cache, finish), range(3)))
    assert len(given) == len(finished) == 1
    code = "import tydep; print(tydep.NUMBER)"
    assert subprocess.check_output([given.pop() / "bin" / "python", "-c", code]) == b"1\n"
    assert list((cache / "locks").iterdir()) == list((cache / "partial").iterdir()) == []


def test_an_environment_that_cannot_be_leaves_nothing(tmp_path: Path) -> None:
    """What uv said is on the error; the next try builds it anew."""
    folder = asked(tmp_path)
    (folder / "requirements.txt").write_text("./tydep-1.0-py3-none-any.whl\n--no-such-option\n")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        environment(of_model(folder), tmp_path / "cache")
    assert failed.value.stderr.startswith("error: ")
    assert list((tmp_path / "cache" / "environments").iterdir()) == []


def test_the_configuration_of_uv_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv is told of the user's file where there is one, and else of none: no folder around the cache configures it."""
    said = tmp_path / "said"
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@" >> {said}\nexit 3\n')
    uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(build, "_uv", lambda: os.fspath(uv))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = asked(tmp_path)
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            environment(of_model(folder), tmp_path / "cache")
        (tmp_path / "config" / "uv").mkdir(parents=True, exist_ok=True)
        (tmp_path / "config" / "uv" / "uv.toml").write_text("")
    without, told = said.read_text().splitlines()
    assert "--no-config" in without
    assert f"--config-file {tmp_path}/config/uv/uv.toml" in told
