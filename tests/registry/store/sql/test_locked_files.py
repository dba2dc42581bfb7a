"""Locks by bytes of a file keep processes apart, and nobody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tiltyard_registry.store.sql.locked_files import HAS_LOCKED_BYTES, LockedBytes

pytestmark = pytest.mark.skipif(not HAS_LOCKED_BYTES, reason="only Linux has such locks")

_HOLDER = """
import sys
from pathlib import Path
from tiltyard_registry.store.sql.locked_files import LockedBytes
with LockedBytes(Path(sys.argv[1])).tried("a") as is_held:
    print(is_held, flush=True)
    sys.stdin.read()
"""


def test_one_holds_a_name_at_a_time(tmp_path: Path) -> None:
    """A name that is held is held from all others, and free afterwards; other names are free all the time."""
    own, other = LockedBytes(tmp_path / "folder" / "locks"), LockedBytes(tmp_path / "folder" / "locks")
    with own.tried("a") as first:
        with other.tried("a") as second, other.tried("b") as third:
            assert (first, second, third) == (True, False, True)
        with own.tried("b") as again:
            assert again
    with other.tried("a") as after:
        assert after
    assert (tmp_path / "folder" / "locks").stat().st_size == 0


def test_a_process_that_is_killed_gives_its_locks_back(tmp_path: Path) -> None:
    """Nothing has to be tidied up after it."""
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / "locks")]
    own = LockedBytes(tmp_path / "locks")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        with own.tried("a") as is_held:
            assert not is_held
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with own.tried("a") as is_held:
        assert is_held


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    """All meet at the new one; who holds a lock of the old one leaves it in order."""
    own, other = LockedBytes(tmp_path / "locks"), LockedBytes(tmp_path / "locks")
    with own.tried("a") as before:
        (tmp_path / "locks").unlink()
        with other.tried("b") as elsewhere, own.tried("b") as late:
            assert (before, elsewhere, late) == (True, True, False)
    own.close()
    with own.tried("a") as again:
        assert again
