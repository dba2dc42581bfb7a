"""Processes that a model's code starts: what it hands to them finds the model's modules there.

A function or a class of the model's own is written as the model's directory and the name that the author knows, so
that a child which was not forked, such as one of joblib's, imports the same files under its own private names. A
function without a name is written with its code, as cloudpickle does, and imports from there too.
"""

import sys
from collections.abc import Callable
from functools import partial, reduce, wraps
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from tiltyard.pyfunc.own_code.imports import OWNER, ROOT, installers
from tiltyard.pyfunc.own_code.modules import ModelModules, living

_LOKY = ("joblib.externals.loky.backend.reduction", "loky.backend.reduction")


class Place(NamedTuple):
    """Where a model's modules are found by another process of this machine; `key` tells loads apart."""

    key: str
    directory: str
    path: tuple[str, ...]
    alone: bool


# In a child, the modules that it has read: for its whole life.
read_here: list[ModelModules] = []


def install() -> None:
    """Has the picklers that write for child processes of this machine know what is a model's."""
    writer = sys.modules.get("multiprocessing.reduction")
    if writer is not None and "reducer_override" not in vars(writer.ForkingPickler):
        writer.ForkingPickler.reducer_override = lambda _pickler, value: _own(value)
    for name in _LOKY:
        pickler = getattr(sys.modules.get(name), "_LokyPickler", None)
        if pickler is not None and not hasattr(pickler.reducer_override, "__wrapped__"):
            pickler.reducer_override = _beside(pickler.reducer_override)


def _beside(plain: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The override of a cloudpickle's pickler, for what a model owns and for the rest."""

    @wraps(plain)
    def override(pickler: Any, value: Any) -> Any:
        found = _own(value)
        if found is NotImplemented:
            found = plain(pickler, value)
            function: Any = value if isinstance(value, FunctionType) else None
            modules = function and function.__builtins__.get(OWNER)
            if modules is not None and isinstance(found, tuple):
                _, arguments, state, *_, set_state = found
                found = (_function, (_place(modules), *arguments), state, None, None, partial(_state, set_state))
        return found

    return override


def _own(value: Any) -> Any:
    """How a module, class or function of a model's own files is written; NotImplemented for anything else."""
    if isinstance(value, ModuleType):
        name, inner = value.__name__, ""
    elif isinstance(value, FunctionType | type):
        name, inner = value.__module__, value.__qualname__
    else:
        return NotImplemented
    if not isinstance(name, str) or not name.startswith(ROOT):
        return NotImplemented
    module = sys.modules.get(name)
    root, _, public = name.partition(".")
    modules = getattr(sys.modules.get(root), OWNER, None)
    if module is None or modules is None or not public:
        return NotImplemented
    try:
        if inner and reduce(getattr, inner.split("."), module) is not value:
            return NotImplemented
    except AttributeError:
        return NotImplemented
    return _read, (_place(modules), public, str(getattr(module, "__file__", None) or ""), inner)


def _place(modules: ModelModules) -> Place:
    return Place(modules.key, modules.directory, tuple(modules.path), modules.alone)


def _modules(place: Place) -> ModelModules:
    """The modules of that place, in this process."""
    found = living.get(place.key)
    if found is None:
        found = ModelModules(Path(place.directory), place.path, alone=place.alone, key=place.key)
        read_here.append(found)
        found.install()
    return found


def _read(place: Place, name: str, file: str, inner: str) -> Any:
    modules = _modules(place)
    module = sys.modules.get(f"{modules.root}.{name}")
    if module is None:
        # A file that was run by its path, such as a model from code, is found by that alone.
        module = modules.load(name) if modules.owns(name) else modules.run(Path(file), name)
    return reduce(getattr, inner.split("."), module) if inner else module


def _function(place: Place, code: Any, names: dict[str, Any], *rest: Any) -> Any:
    names["__builtins__"] = _modules(place).builtins
    return FunctionType(code, names, *rest)


def _state(plain: Callable[[Any, Any], Any], function: Any, state: Any) -> None:
    own = function.__globals__["__builtins__"]
    plain(function, state)
    function.__globals__["__builtins__"] = own


installers.append(install)
