"""How the files of a model become modules: their functions have the builtins of that model."""

import hashlib
import sys
import threading
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.own_code.imports import OWNER

# What the dynamic loader knows by its name alone, once it is loaded: name to digest.
_known: dict[str, str] = {}
_lock = threading.Lock()

# Loaded before any program: whoever writes `import os` means Python's, also beside an `os.py`.
ALWAYS_PYTHONS = frozenset(
    [
        "__main__",
        "__mp_main__",
        "_collections_abc",
        "_sitebuiltins",
        "abc",
        "codecs",
        "encodings",
        "genericpath",
        "importlib",
        "io",
        "ntpath",
        "os",
        "posixpath",
        "site",
        "stat",
        "zipimport",
    ]
).union(sys.builtin_module_names)


def with_builtins(spec: ModuleSpec, name: str, builtins: dict[str, Any]) -> Loader | None:
    """What loads the file that was found so that its code has these builtins; an extension module has its own."""
    if spec.origin is not None and isinstance(spec.loader, SourceFileLoader):
        return Source(name, spec.origin, builtins)
    if spec.origin is not None and isinstance(spec.loader, SourcelessFileLoader):
        return _Bytecode(name, spec.origin, builtins)
    return spec.loader


def is_namespace(spec: ModuleSpec | None) -> bool:
    """Whether it is a package without a file of its own, or nothing at all."""
    return spec is None or (spec.submodule_search_locations is not None and not spec.has_location)


def run_file(path: Path, name: str, builtins: dict[str, Any]) -> ModuleType:
    """The module that comes of running a Python file, under that name. Raises: what the file raises."""
    loader = Source(name, str(path), builtins)
    spec = spec_from_loader(name, loader, origin=str(path))
    if spec is None:
        raise InvalidParameterValue("The model's code file is not a Python file.")
    spec.has_location = True
    module = sys.modules[name] = module_from_spec(spec)
    loader.exec_module(module)
    return module


class _Own:
    """A loader that gives a module the builtins of its model."""

    builtins: dict[str, Any]

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self.builtins
        self.builtins[OWNER].publish(module)
        super().exec_module(module)  # type: ignore[misc]  # that of the loader it is mixed into


class Source(_Own, SourceFileLoader):  # type: ignore[misc]  # typeshed's own bases disagree
    """Loads a Python file."""

    def __init__(self, name: str, path: str, builtins: dict[str, Any]) -> None:
        super().__init__(name, path)
        self.builtins = builtins

    def get_code(self, fullname: str) -> Any:
        """The code of the source as it is: compiled files are told apart by size and second alone."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _Bytecode(_Own, SourcelessFileLoader):
    def __init__(self, name: str, path: str, builtins: dict[str, Any]) -> None:
        super().__init__(name, path)
        self.builtins = builtins


def check_libraries(folder: Path) -> None:
    """Refuses a shared library that the process would take for another of the same name, loaded before.

    Extension modules are told apart by their paths; what they are linked against, by its name.
    """
    for path in sorted(folder.rglob("lib*.so*")):
        if not path.is_file():
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with _lock:
            known = _known.setdefault(path.name, digest)
        if known != digest:
            raise InvalidParameterValue(
                f"The model brings the shared library '{path.name[:80]}', and another model in this process brings "
                "another one of that name: serve it with isolation 'process'."
            )
