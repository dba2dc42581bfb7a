"""Large bodies take turns: what they take while they are decoded is bounded, and nothing is collected beside them."""

import os
import subprocess
import sys
import threading
from contextlib import ExitStack

import pyarrow as pa
import pytest

from tiltyard_serving.operations import memory

LARGE = memory.LARGE_BYTES + 1
HUGE = memory.HUGE_BYTES + 1
# A service starts, and many threads take memory; then the arenas are counted.
_ARENAS = """
import ctypes, threading
from tiltyard_serving.app import create_app
from tiltyard_serving.settings import ServingSettings
create_app(ServingSettings())
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
together = threading.Barrier(100)
def take():
    together.wait()
    c.malloc(ctypes.c_size_t(100_000))
    together.wait()
threads = [threading.Thread(target=take) for _ in range(100)]
for thread in threads: thread.start()
for thread in threads: thread.join()
c.open_memstream.restype = ctypes.c_void_p
text, size = ctypes.c_char_p(), ctypes.c_size_t()
told = ctypes.c_void_p(c.open_memstream(ctypes.byref(text), ctypes.byref(size)))
c.malloc_info(0, told)
c.fclose(told)
print(text.value.count(b"<heap nr="))
"""


def test_few_large_bodies_are_decoded_at_once() -> None:
    """One more waits until one of them is done; a small one waits for nobody."""
    done = threading.Event()

    def one_more() -> None:
        with memory.decoding(LARGE):
            done.set()

    waiting = threading.Thread(target=one_more)
    with ExitStack() as decoded:
        for _ in range(memory.AT_ONCE):
            decoded.enter_context(memory.decoding(LARGE))
        waiting.start()
        with memory.decoding(LARGE - 1):
            assert not done.is_set()
    waiting.join()
    assert done.is_set()


@pytest.mark.parametrize("sizes_bytes", [(LARGE, HUGE), (HUGE, LARGE), (HUGE, HUGE)])
def test_a_huge_body_is_decoded_alone(sizes_bytes: tuple[int, int]) -> None:
    """It waits for a large one to be done, and a large one for it; a small one waits for nobody."""
    done = threading.Event()

    def second() -> None:
        with memory.decoding(sizes_bytes[1]):
            done.set()

    waiting = threading.Thread(target=second)
    with memory.decoding(sizes_bytes[0]):
        waiting.start()
        with memory.decoding(LARGE - 1):
            assert not done.is_set()
    waiting.join()
    assert done.is_set()


def test_two_huge_bodies_do_not_wait_for_each_other_with_half_of_the_turns_each() -> None:
    """However many come at once, each gets all of the turns, one after the other."""
    left = threading.Semaphore(0)

    def huge() -> None:
        with memory.decoding(HUGE):
            left.release()

    waiting = [threading.Thread(target=huge) for _ in range(20)]
    with memory.decoding(LARGE):
        for each in waiting:
            each.start()
    for each in waiting:
        each.join()
        assert left.acquire(blocking=False)


def test_what_a_large_body_leaves_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that decode in turns would else keep the memory of their largest body each."""
    given = threading.Event()
    monkeypatch.setattr(memory, "SOON_S", 0.0)
    monkeypatch.setattr(memory, "SELDOM_S", 0.0)
    monkeypatch.setattr(memory, "_trim", lambda _kept: given.set())
    with memory.decoding(LARGE - 1):
        memory.left_by(LARGE - 1)
    with memory.decoding(LARGE):
        assert not given.is_set()
    assert given.wait(60)
    given.clear()
    memory.left_by(LARGE)
    assert given.wait(60)


@pytest.mark.parametrize("given", [None, 7])
def test_threads_share_arenas_of_the_c_library(given: int | None) -> None:
    """However many there are, there is one arena per processor, or as many as the environment says."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if given is not None:
        environment["MALLOC_ARENA_MAX"] = str(given)
    command = [sys.executable, "-c", _ARENAS]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(found.stdout) == (given or max(2, os.cpu_count() or 1))


@pytest.mark.parametrize("named", [None, "mimalloc"])
def test_arrow_keeps_no_memory_of_its_own(monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    """It takes its memory where it is given back, unless somebody chose a pool."""
    if named is None:
        monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    else:
        monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", named)
    chosen: list[str] = []
    monkeypatch.setattr(pa, "set_memory_pool", lambda pool: chosen.append(pool.backend_name))
    memory.share_memory_with_arrow()
    assert chosen == (["system"] if named is None else [])


def test_garbage_is_collected_between_large_bodies() -> None:
    """Memory is given back once no large body is being decoded, and the turns are free again."""
    given = threading.Event()

    def give() -> None:
        memory.give_back()
        given.set()

    giving = threading.Thread(target=give)
    with memory.decoding(LARGE):
        giving.start()
        assert not given.is_set()
    giving.join()
    assert given.is_set()
    with ExitStack() as decoded:
        for _ in range(memory.AT_ONCE):
            decoded.enter_context(memory.decoding(LARGE))
