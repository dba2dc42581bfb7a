"""Pickles that name classes of a model: each is read with the modules of the model for which it is read.

A pickle names a class by its module, `helper.Scaler`, or, as cloudpickle writes it, brings its code along. Both kinds
are read here so that the class, and what its methods import, are those of this model and this load.
"""

import io
import pickle
import re
import sys
from collections.abc import Callable
from functools import partial, reduce
from types import FunctionType
from typing import IO, Any

from tiltyard.pyfunc.format.boosters.states import checked_class
from tiltyard.pyfunc.own_code.imports import ROOT, Modules, asking, import_module, import_turn

_PlainUnpickler = pickle.Unpickler
_plain_load, _plain_loads = pickle.load, pickle.loads
_Python: Any = vars(pickle)["_Unpickler"]
_plain_find_class: Callable[[Any, str, str], Any] = _Python.find_class

_PRIVATE = re.compile(rf"{ROOT}\d+\.(.+)", re.DOTALL)


class Unpickler(_PlainUnpickler):
    """Reads a pickle for the model that is being loaded, or whose code is calling, if any."""

    def __init__(self, file: Any, **options: Any) -> None:
        super().__init__(file, **options)
        self.modules = asking()

    def find_class(self, module: str, name: str) -> Any:
        """The object that the pickle names. Raises: ImportError, AttributeError: there is none.

        A booster's is one that looks at what it is restored from, since native code would not.
        """
        found = self._found(module, name)
        return checked_class(found) if isinstance(found, type) else found

    def _found(self, module: str, name: str) -> Any:
        if self.modules is not None:
            found = _own(self.modules, module, name)
            if found is not None:
                return found
        if module in sys.modules:
            return super().find_class(module, name)
        with import_turn():
            return super().find_class(module, name)


def install() -> None:
    """Has everything that reads pickles ask for whom it reads."""
    readers: dict[str, tuple[Any, Any]] = {"load": (_plain_load, _load), "loads": (_plain_loads, _loads)}
    for name in ("pickle", "cloudpickle", "cloudpickle.cloudpickle", "joblib.externals.cloudpickle"):
        found = vars(sys.modules[name]) if name in sys.modules else {}
        for function, (plain, ours) in readers.items():
            if found.get(function) is plain:
                found[function] = ours
    vars(pickle)["Unpickler"] = Unpickler
    _Python.find_class = _find_class


def _load(file: IO[bytes], **options: Any) -> Any:
    return _plain_load(file, **options) if asking() is None else Unpickler(file, **options).load()


def _loads(data: Any, /, **options: Any) -> Any:
    return _plain_loads(data, **options) if asking() is None else Unpickler(io.BytesIO(data), **options).load()


def _find_class(unpickler: Any, module: str, name: str) -> Any:
    modules = asking()
    found = None if modules is None else _own(modules, module, name)
    return _plain_find_class(unpickler, module, name) if found is None else found


def _own(modules: Modules, module: str, name: str) -> Any:
    """The model's own object of that name, or None."""
    if module.endswith("cloudpickle.cloudpickle") or module.endswith("cloudpickle.cloudpickle_fast"):
        rebuild = _REBUILD.get(name)
        if rebuild is not None:
            with import_turn():
                plain = getattr(__import__(module, fromlist=(name,)), name, None)
            return partial(rebuild, modules, plain)
    if module not in sys.modules and (private := _PRIVATE.fullmatch(module)):
        # Pickled from a model that this process had loaded.
        module = private[1]
    if not modules.owns(module):
        return None
    return reduce(getattr, name.split("."), modules.load(module))


def _function(modules: Modules, plain: Any, code: Any, names: dict[str, Any], *rest: Any) -> Any:
    del plain
    names["__builtins__"] = modules.builtins
    return FunctionType(code, names, *rest)


def _function_state(modules: Modules, plain: Any, function: Any, state: Any) -> Any:
    result = plain(function, state)
    function.__globals__["__builtins__"] = modules.builtins
    return result


def _class(modules: Modules, plain: Any, *arguments: Any) -> Any:
    """A class of this load: cloudpickle would take one that it has read before, and change that."""
    kind, name, bases, keywords, tracked, *rest = arguments
    return plain(kind, name, bases, keywords, tracked and f"{modules.root}:{tracked}", *rest)


def _enum(modules: Modules, plain: Any, *arguments: Any) -> Any:
    bases, name, qualified, members, module, tracked, *rest = arguments
    return plain(bases, name, qualified, members, module, tracked and f"{modules.root}:{tracked}", *rest)


def _module(modules: Modules, plain: Any, name: str) -> Any:
    del plain
    return modules.load(name) if modules.owns(name) else import_module(name)


def _made_module(modules: Modules, plain: Any, *arguments: Any) -> Any:
    module = plain(*arguments)
    vars(module)["__builtins__"] = modules.builtins
    return module


# The functions of cloudpickle that make what a pickle brings along, for one model.
_REBUILD: dict[str, Callable[..., Any]] = {
    "_make_function": _function,
    "_function_setstate": _function_state,
    "_make_skeleton_class": _class,
    "_make_skeleton_enum": _enum,
    "subimport": _module,
    "dynamic_subimport": _made_module,
}
