"""The program that loads hostile models: a path a line comes in, and a line says what came of it and what it took.

`loaded` is followed by a prediction of the model's own example. What is of ours is `refused`; anything else that
comes out of the load is `raised`. What a model raises when it predicts is its own affair.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

# A guard for the machine. What a load takes is measured.
MAX_ADDRESS_BYTES = 8 << 30


def main() -> None:
    """Loads what it is told, until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_BYTES, MAX_ADDRESS_BYTES))
    from tiltyard import pyfunc

    # What a model prints, or a library below it, is not for who reads the lines.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        before_bytes = _begin_peak()
        said = _load(pyfunc, line.rstrip("\n"))
        out.write(f"{json.dumps({'said': said, 'grown_bytes': _memory('VmHWM') - before_bytes})}\n")
        out.flush()


def _load(pyfunc: Any, path: str) -> str:
    from tiltyard.errors import MissingPackage, TiltyardError

    try:
        model = pyfunc.load(path)
        example = model.input_example()
    except (TiltyardError, MissingPackage) as error:
        leaks = " with its path" if path in str(error) else ""
        return f"{'leaked' if leaks else 'refused'} {type(error).__name__}{leaks}"
    except BaseException as error:
        return f"raised {type(error).__name__}: {str(error)[:200]!r}"
    if example is None:
        return "loaded"
    try:
        model.predict(example)
    except Exception:
        return "loaded, predicts not"
    return "predicted"


def _begin_peak() -> int:
    """The memory that there is, which is the peak from now on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
