"""Imports by name, answered for the model whose code asks.

An `import` statement of a model's own code needs none of this: see `model_modules`. Other code looks modules up for
a model: pickle when it reads a class by reference, `importlib.import_module`, whatever calls these. They ask here for
whom: for the model that this thread is loading, else for the one whose function is nearest on the stack.

Shared code that imports by a statement asks for itself: it never gets a module of a model.
"""

import builtins
import contextlib
import dis
import importlib
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Protocol

ROOT = "tiltyard_model_"
# Among the builtins of a model's functions: the ModelModules.
OWNER = "__tiltyard_model__"

TURN_WAIT_S = 30.0

_IMPORT_STATEMENT = dis.opmap["IMPORT_NAME"]
_IMPORT_MACHINERY = "<frozen importlib._bootstrap"


class Modules(Protocol):
    """What has to be known here of a model's modules."""

    root: str
    builtins: dict[str, Any]

    def owns(self, name: str) -> bool:
        """Whether the name is that of a module of the model, or below one."""

    def holds(self, file: str) -> bool:
        """Whether the file is one of the model's."""

    def install(self) -> None:
        """Has whoever looks something up in this process ask for whom."""

    def publish(self, module: ModuleType) -> None:
        """Called before the code of one of the model's modules runs."""

    def load(self, name: str) -> ModuleType:
        """The model's module of that name. Raises: ModuleNotFoundError."""

    def run(self, path: Path, name: str) -> ModuleType:
        """The module that comes of running a file of the model. Raises: what the file raises."""

    def find(self, private_name: str, path: Sequence[str]) -> ModuleSpec | None:
        """Where the module with a name below `root` is, for Python's import."""


_asking = threading.local()
# The only model of this process, if there can be no other.
_only: list[Modules] = []
# What else is to be done when it begins, or a package was imported that has to ask too.
installers: list[Callable[[], None]] = []
_turn = threading.RLock()
_installed = threading.Lock()
_plain_import_module = importlib.import_module


def on_behalf_of(modules: Modules) -> AbstractContextManager[None]:
    """Within the block this thread asks for that model."""
    return _asking_with("modules", modules)


def started_by(modules: "weakref.ref[Modules]") -> AbstractContextManager[None]:
    """Within the block this thread asks for that model while it is there, unless another's function is on its stack."""
    return _asking_with("starter", modules)


@contextmanager
def _asking_with(name: str, value: object) -> Iterator[None]:
    before = getattr(_asking, name, None)
    setattr(_asking, name, value)
    try:
        yield
    finally:
        setattr(_asking, name, before)


def asking() -> Modules | None:
    """The modules of the model for which this thread runs at this moment, if it runs for one."""
    found: Modules | None = getattr(_asking, "modules", None)
    frame: FrameType | None = sys._getframe(1)
    while found is None and frame is not None:
        found = frame.f_builtins.get(OWNER)
        frame = frame.f_back
    if found is None and (starter := getattr(_asking, "starter", None)) is not None:
        found = starter()
    return _only[0] if found is None and _only else found


def ask_always(modules: Modules) -> None:
    """Whoever asks in this process, and is no other model's code, asks for that model."""
    _only[:] = [modules]


@contextmanager
def public_names(root: str) -> Iterator[None]:
    """A module below `root` that is missing is missing by the name that the model's code knows."""
    try:
        yield
    except ModuleNotFoundError as error:
        prefix = f"{root}."
        if error.name is None or not error.name.startswith(prefix):
            raise
        message = str(error).replace(prefix, "")
        raise ModuleNotFoundError(message, name=error.name.removeprefix(prefix), path=error.path) from None


@contextmanager
def import_turn() -> Iterator[None]:
    """Holds other loads off the first imports of packages: in several threads these may fail one another.

    Nobody waits for long: a turn saves failures, and an import that does not end must not stop every load.
    """
    taken = _turn.acquire(timeout=TURN_WAIT_S)
    try:
        yield
    finally:
        if taken:
            _turn.release()


def import_shared(
    name: str,
    global_names: Mapping[str, Any] | None,
    local_names: Mapping[str, Any] | None,
    fromlist: Sequence[str],
) -> ModuleType:
    """What the statement imports from what all models share."""
    if name in sys.modules:
        return builtins.__import__(name, global_names, local_names, fromlist, 0)
    with import_turn():
        found = builtins.__import__(name, global_names, local_names, fromlist, 0)
    modules = asking()
    if modules is not None:
        # What has been imported may read or write pickles.
        modules.install()
    return found


def import_module(name: str, package: str | None = None) -> ModuleType:
    """`importlib.import_module` for whoever asks: a module of their model, else the shared one."""
    modules = asking()
    if modules is None:
        return _plain_import_module(name, package)
    absolute = resolve_name(name, package) if name.startswith(".") else name
    if modules.owns(absolute):
        return modules.load(absolute)
    if absolute in sys.modules:
        return _plain_import_module(absolute)
    with import_turn():
        return _plain_import_module(absolute)


def collided(error: BaseException) -> bool:
    """Whether an import failed only because another thread was importing the same packages."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ == "_DeadlockError":
            return True
        if isinstance(cause, ImportError) and "partially initialized module" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def pickle_by_value(package: ModuleType, *, undo: bool = False) -> None:
    """Has cloudpickle write what is defined below the package with its code, for no other process has it."""
    for name in ("cloudpickle", "joblib.externals.cloudpickle"):
        pickler = sys.modules.get(name)
        if pickler is None or package.__name__ not in sys.modules:
            continue
        with contextlib.suppress(ValueError):
            (pickler.unregister_pickle_by_value if undo else pickler.register_pickle_by_value)(package)


def install() -> None:
    """Has Python ask here; without a model's code on the stack everything is as it was.

    May be done again and again: the packages that read and write pickles may have been imported since.
    """
    for installer in installers:
        installer()
    with _installed:
        if any(isinstance(finder, _Finder) for finder in sys.meta_path):
            return
        sys.meta_path.insert(0, _Finder())
        vars(importlib)["import_module"] = import_module


class _Finder(MetaPathFinder):
    """Finds the modules of models, by their private names, and by their own where a model asks."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where the module is, if it is one of a model's."""
        del target
        if fullname.startswith(ROOT):
            package = sys.modules.get(fullname.partition(".")[0])
            owner = None if package is None else getattr(package, OWNER, None)
            return None if owner is None else owner.find(fullname, path or ())
        modules = asking()
        if modules is None or not modules.owns(fullname):
            return None
        if not _only and _is_shared_statement(modules):
            return None
        return _ready(modules.load(fullname))


class _Ready(Loader):
    """Hands over a module that is loaded already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def __getattr__(self, name: str) -> Any:
        found = getattr(getattr(self._spec, "loader", None), name)
        if name not in ("get_code", "get_filename", "get_source", "is_package"):
            return found
        # The loader knows the module by its private name.
        return lambda _fullname: found(self._module.__name__)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        del spec
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do but to leave it as it was."""
        module.__spec__ = self._spec


def _ready(module: ModuleType) -> ModuleSpec:
    found, known = ModuleSpec(module.__name__, _Ready(module)), module.__spec__
    if known is not None:
        found.origin, found.has_location = known.origin, known.has_location
        found.submodule_search_locations = known.submodule_search_locations
    return found


def _is_shared_statement(modules: Modules) -> bool:
    """Whether what is being imported is imported by a statement in code that is not the model's."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_IMPORT_MACHINERY):
        frame = frame.f_back
    if frame is None or frame.f_lasti < 0 or frame.f_code.co_code[frame.f_lasti] != _IMPORT_STATEMENT:
        return False
    return frame.f_builtins.get(OWNER) is not modules and not modules.holds(frame.f_code.co_filename)
