"""Threads that a model's code starts: what is looked up by name in them is looked up for the model.

A function of the model's own says by itself whose it is. This is for others' functions that are handed to a thread,
such as `pool.map(joblib.load, files)`.
"""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import wraps
from typing import Any

from tiltyard.pyfunc.own_code.imports import Modules, asking, started_by

_plain_start = threading.Thread.start
_plain_submit = ThreadPoolExecutor.submit
_lock = threading.Lock()


def install() -> None:
    """Has threads remember which model's code started them. Done once."""
    with _lock:
        if threading.Thread.start is _plain_start:
            threading.Thread.start = _start  # type: ignore[method-assign, assignment]
        if ThreadPoolExecutor.submit is _plain_submit:
            ThreadPoolExecutor.submit = _submit  # type: ignore[method-assign, assignment]


@wraps(_plain_start)
def _start(thread: threading.Thread) -> None:
    work = getattr(thread, "_target", None)
    # A pool's thread works for whoever submits, and not for who came first.
    modules = None if getattr(work, "__module__", None) == "concurrent.futures.thread" else asking()
    if modules is not None:
        vars(thread)["run"] = _run_of(thread, weakref.ref(modules))
    _plain_start(thread)


def _run_of(thread: threading.Thread, modules: "weakref.ref[Modules]") -> Callable[[], None]:
    own = vars(thread).get("run")

    def run() -> None:
        # Once it runs the thread is as it was: it must not refer to itself when it has ended.
        del vars(thread)["run"]
        with started_by(modules):
            (own or thread.run)()

    return run


@wraps(_plain_submit)  # type: ignore[arg-type]
def _submit(pool: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
    modules = asking()
    if modules is None:
        return _plain_submit(pool, fn, *args, **kwargs)
    asked = weakref.ref(modules)

    def run() -> Any:
        with started_by(asked):
            return fn(*args, **kwargs)

    return _plain_submit(pool, run)
