"""The Python modules that a model brings: its own, whatever else this process has imported.

A model's `code` directory is never on `sys.path`. Its modules live below a package of that one load, whose name
nobody else has: `helper` becomes `tiltyard_model_7.helper`. The model's code goes on writing `import helper`. Its
functions have builtins of their own, with an `__import__` that looks there first: so it is right in every thread,
whenever the import is executed, and a call costs nothing more.

Who looks a module up by its name for the model, such as pickle, joblib or `importlib.import_module`, asks whose
code is calling (`imports`). What does not lie in the model's directory is shared, as ever.
"""

import builtins
import contextlib
import itertools
import os
import sys
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.own_code import imports, pickles, threads
from tiltyard.pyfunc.own_code.sources import (
    ALWAYS_PYTHONS,
    check_libraries,
    is_namespace,
    run_file,
    with_builtins,
)
from tiltyard.uri import contain

_numbers = itertools.count(1)
# Those whose model has gone. The collector may find that in the middle of anything, also while somebody goes through
# `sys.modules`: nothing is removed from there before the next load, or before somebody asks.
_gone: "SimpleQueue[ModelModules]" = SimpleQueue()
# Those of this process, by their keys.
living: "weakref.WeakValueDictionary[str, ModelModules]" = weakref.WeakValueDictionary()

imports.installers.extend([pickles.install, threads.install])


def forget_gone() -> bool:
    """Ends the places of models that are used no more. Whether there were any."""
    some = False
    with contextlib.suppress(Empty):
        while True:
            _gone.get_nowait().forget()
            some = True
    return some


class ModelModules:
    """The modules of one load of one model.

    Attributes:
        root: the package they live below.
        directory, path: that of the model, and those in which they are looked for.
        key: tells this load from others, also in other processes.
        builtins: what the model's functions have for builtins.
        alone: no other model is in this process. Then they have their own names in `sys.modules` too, where these
            are free, and are found by whoever asks: nothing needs to be told apart.
    """

    def __init__(self, directory: Path, path: Sequence[str], *, alone: bool = False, key: str | None = None) -> None:
        self.root = f"{imports.ROOT}{next(_numbers)}"
        self.path = list(path)
        self.alone = alone
        self.key = key or uuid.uuid4().hex
        living[self.key] = self
        self.builtins: dict[str, Any] = {**vars(builtins), imports.OWNER: self, "__import__": self._import}
        self.directory = str(directory.resolve())
        self._modules: dict[str, ModuleType] = {}
        self._owned: dict[str, bool] = {}
        package = ModuleType(self.root)
        package.__path__ = self.path
        package.__spec__ = ModuleSpec(self.root, None, is_package=True)
        setattr(package, imports.OWNER, self)
        # What stands in sys.modules for as long as the model is used.
        self._standing: dict[str, ModuleType] = {self.root: package}
        self._seen_count = 0
        self._shared_path: list[str] = list(sys.path)
        self._seen_path: list[str] = self._shared_path
        # A directory may have been written anew since another model was read there.
        self._drop_listings()

    @classmethod
    def of_model(cls, directory: Path, metadata: MLModel, *, alone: bool = False) -> "ModelModules":
        """Those of the model in a directory.

        Raises:
            InvalidParameterValue: the `code` directory lies elsewhere, or holds what cannot be told apart.
        """
        code = metadata.pyfunc.get("code")
        folder = contain(directory, code, parameter="code") if isinstance(code, str) and code else None
        if folder is not None:
            check_libraries(folder)
        return cls(directory, [] if folder is None else [str(folder)], alone=alone)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Within the block, whatever this thread looks up by name is looked up for this model.

        Raises:
            InvalidParameterValue: something looked a module of the model up in a way that cannot be answered.
        """
        forget_gone()
        self.install()
        known = set(sys.modules)
        self._stand()
        try:
            with imports.on_behalf_of(self):
                yield
        except BaseException as error:
            self.forget()
            name = error.args[0] if isinstance(error, KeyError) and error.args else None
            if isinstance(name, str) and name not in sys.modules and self.owns(name):
                raise InvalidParameterValue(
                    f"A package that this model uses looks for the model's module '{name[:80]}' in sys.modules, where "
                    "modules of several models would be mixed up: serve the model with isolation 'process'."
                ) from error
            raise
        self._take_path()
        self._take_modules(known)
        self._seen_count = len(sys.modules)
        # What is pickled from these modules, for another process or as another model, must not refer to them.
        imports.pickle_by_value(self._standing[self.root])

    def settle(self) -> None:
        """Keeps to the model what its code has put into `sys.modules` since, if anything was put there."""
        if len(sys.modules) != self._seen_count:
            self._take_modules(set())
            self._seen_count = len(sys.modules)

    def install(self) -> None:
        imports.install()
        if self.alone:
            imports.ask_always(self)

    def forget_with(self, model: object) -> None:
        """Ends the model's place in the process some time after the object's end."""
        weakref.finalize(model, _gone.put, self).atexit = False

    def forget(self) -> None:
        """Ends the model's place in the process. Code of it that somebody still runs goes on importing its own."""
        imports.pickle_by_value(self._standing[self.root], undo=True)
        prefix = f"{self.root}."
        for name in [name for name in list(sys.modules) if name == self.root or name.startswith(prefix)]:
            self._standing[name] = sys.modules.pop(name)
        self._drop_listings()

    def owns(self, name: str) -> bool:
        if sys.path != self._seen_path:
            self._take_path()
        top = name.partition(".")[0]
        found = self._owned.get(top)
        if found is None:
            found = self._owned[top] = self._has(top)
        return found

    def load(self, name: str) -> ModuleType:
        found = self._modules.get(name)
        if found is None:
            # With a name to take from it, the innermost module is what comes back.
            self._import_own(name, ("__name__",))
            found = self._modules.get(name) or sys.modules[f"{self.root}.{name}"]
        return found

    def publish(self, module: ModuleType) -> None:
        if self.alone:
            sys.modules.setdefault(module.__name__.removeprefix(f"{self.root}."), module)

    def find(self, private_name: str, path: Sequence[str]) -> ModuleSpec | None:
        self._stand()
        spec = PathFinder.find_spec(private_name, path)
        if spec is not None and spec.origin is not None:
            spec.loader = with_builtins(spec, private_name, self.builtins)
            spec.cached = None
        return spec

    def run(self, path: Path, name: str) -> ModuleType:
        return run_file(path, f"{self.root}.{name}", self.builtins)

    def holds(self, file: str) -> bool:
        # Not those of an environment that happens to lie below it.
        return self._is_below(file) and not any(
            file.startswith(f"{entry}{os.sep}") for entry in self._shared_path if self._is_below(entry)
        )

    # --- The import of the model's own code ---------------------------------------------------------------

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__` as the model's code has it."""
        if level:
            package = str((globals or {}).get("__package__") or "")
            if package and self.owns(package):
                # A function that was pickled with its code says the package that its author knew.
                name = resolve_name("." * level + name, package)
            else:
                self._stand()
                with imports.public_names(self.root):
                    return builtins.__import__(name, globals, locals, fromlist or (), level)
        found = self._modules.get(name)
        if found is not None:
            if not fromlist:
                return found if "." not in name else self._top(name)
            if "__path__" not in found.__dict__:
                return found
        if found is not None or self.owns(name):
            return self._import_own(name, fromlist)
        return imports.import_shared(name, globals, locals, fromlist or ())

    def _import_own(self, name: str, fromlist: Sequence[str] | None) -> ModuleType:
        self._stand()
        private_name = f"{self.root}.{name}"
        try:
            with imports.public_names(self.root):
                found = builtins.__import__(private_name, None, None, fromlist or (), 0)
        except ModuleNotFoundError as error:
            if error.name is None or not self._continues_elsewhere(error.name):
                raise
            # A namespace package, of which the model has one part and the environment another.
            beyond = imports.import_shared(name, None, None, fromlist or ())
            parent, _, last = error.name.rpartition(".")
            setattr(sys.modules[f"{self.root}.{parent}"], last, sys.modules[error.name])
            return beyond if fromlist else self._top(name)
        for known in (name, name.partition(".")[0]):
            module = sys.modules[f"{self.root}.{known}"]
            if not getattr(module.__spec__, "_initializing", False):
                self._modules[known] = module
        return found if fromlist else self._top(name)

    def _top(self, name: str) -> ModuleType:
        top = name.partition(".")[0]
        return self._modules.get(top) or sys.modules[f"{self.root}.{top}"]

    def _continues_elsewhere(self, missing: str) -> bool:
        parent = sys.modules.get(f"{self.root}.{missing.rpartition('.')[0]}")
        return parent is not None and "." in missing and is_namespace(parent.__spec__)

    def _has(self, top: str) -> bool:
        if top in ALWAYS_PYTHONS or top.startswith(imports.ROOT):
            return False
        if top in self._modules:
            return True
        spec = PathFinder.find_spec(f"{self.root}.{top}", self.path) if self.path else None
        if spec is None:
            return False
        # A mere folder stands back behind a package of that name elsewhere, as on one path.
        return not is_namespace(spec) or is_namespace(PathFinder.find_spec(top))

    # --- What the model's code does to sys.path and sys.modules -------------------------------------------

    def _stand(self) -> None:
        if self.root not in sys.modules:
            sys.modules.update(self._standing)

    def _take_path(self) -> None:
        """Makes a directory of the model that its code has put on `sys.path` a part of `path` alone."""
        for entry in list(sys.path):
            if entry not in self._shared_path and self._is_below(entry):
                first = sys.path[0] == entry
                with contextlib.suppress(ValueError):
                    if not self.alone:
                        sys.path.remove(entry)
                if entry not in self.path:
                    self.path.insert(0 if first else len(self.path), entry)
                    self._owned = {}
        self._seen_path = list(sys.path)

    def _take_modules(self, known: set[str]) -> None:
        """Takes what loading has put into `sys.modules` from the model's own files out of it again."""
        # A copy is made in one step. A list of the items is not: the collector may run in it, and with it an import.
        for name, module in sys.modules.copy().items():
            file = getattr(module, "__file__", None) if name not in known else None
            if isinstance(file, str) and not name.startswith(imports.ROOT) and self.holds(file):
                self._modules[name] = module
                self._owned = {}
                if not self.alone:
                    sys.modules.pop(name, None)

    def _is_below(self, file: str) -> bool:
        return file == self.directory or file.startswith(f"{self.directory}{os.sep}")

    def _drop_listings(self) -> None:
        for folder in list(sys.path_importer_cache):
            if self._is_below(folder):
                sys.path_importer_cache.pop(folder, None)
