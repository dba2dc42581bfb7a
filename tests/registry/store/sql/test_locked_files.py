"""Locks by files keep their holders apart, and nobody else."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tiltyard_registry.store.sql.locked_files import FileLocks

_HOLDER = """
import fcntl
import sys
from pathlib import Path
from tiltyard_registry.store.sql.locked_files import FileLocks
if sys.argv[2] == "file":
    vars(fcntl).pop("F_OFD_SETLK", None)
with FileLocks(Path(sys.argv[1])).tried("a") as is_held:
    print(is_held, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["byte", "file"], autouse=True)
def each(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a lock is: a byte of a file where the system has such locks, or a file of its own as on all others."""
    if request.param == "file":
        monkeypatch.delattr(fcntl, "F_OFD_SETLK", raising=False)
    return str(request.param)


def test_one_holds_a_name_at_a_time(tmp_path: Path) -> None:
    """A name that is held is held from all others, and free afterwards; other names are free all the time."""
    folder = tmp_path / "locks"
    own, other = FileLocks(folder), FileLocks(folder)
    with own.tried("a") as first:
        with other.tried("a") as second, other.tried("b") as third:
            assert (first, second, third) == (True, False, True)
        with own.tried("b") as again:
            assert again
    with other.tried("a") as after:
        assert after
    assert [path.stat().st_size for path in folder.iterdir()] in ([], [0]), "they do not pile up"


def test_a_process_that_is_killed_gives_its_locks_back(tmp_path: Path, each: str) -> None:
    """Nothing has to be tidied up after it."""
    own = FileLocks(tmp_path / "locks")
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / "locks"), each]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        with own.tried("a") as is_held:
            assert not is_held
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with own.tried("a") as is_held:
        assert is_held


def test_a_folder_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    """All meet at the new one; who holds a lock of the old one leaves it in order."""
    own, other = FileLocks(tmp_path / "locks"), FileLocks(tmp_path / "locks")
    with own.tried("a") as before:
        shutil.rmtree(tmp_path / "locks")
        with other.tried("b") as elsewhere, own.tried("b") as late:
            assert (before, elsewhere, late) == (True, True, False)
    own.close()
    with own.tried("a") as again:
        assert again
