"""What a load may raise: errors of ours, whatever its files and its author's code run into.

A file that is cut off, damaged or something else makes the library that reads it raise anything: what it meets there
it takes for sizes, names and places. So everything that is not an error of ours is turned into one here, for all
flavors. What the model's own code raises is told as that.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiltyard.errors import InvalidParameterValue, MissingPackage, ModelUnreadable, TiltyardError, quote
from tiltyard.pyfunc.format.mlmodel import PYFUNC, MLModel
from tiltyard.pyfunc.load_failures.installed_packages import other_releases
from tiltyard.pyfunc.load_failures.missing_packages import ISOLATION, listed, told
from tiltyard.pyfunc.own_code.imports import OWNER

# Where MLmodel says which file holds the model.
_NAMED_BY = ("python_model", "model_path", "data", "pickled_model", "model_code_path")

_TOO_LITTLE_MEMORY = "or there is too little memory for it"


@contextmanager
def load_errors(directory: Path, metadata: MLModel) -> Iterator[None]:
    """Turns what the load of a model fails with into errors whose texts hold neither paths nor values of the host.

    Raises:
        TiltyardError, MissingPackage: as they were raised within the block.
        MissingPackage: a module was not found; says all that is missing.
        InvalidParameterValue: the model's own code failed.
        ModelUnreadable: anything else failed; says which file was read.
    """
    try:
        yield
    except MissingPackage as error:
        if error.name is None:
            raise
        # The model's own code uses a part of it.
        uses = f"The model's code uses {quote(error.name)}."
        raise MissingPackage(f"{uses} {told(directory, metadata, error.name)}") from error
    except (TiltyardError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name:
            raise MissingPackage(told(directory, metadata, error.name)) from error
        kind = type(error).__name__
        # The text of a library may name files of this host; it stays on the error for the log.
        if _is_of_the_model(error, directory):
            raise InvalidParameterValue(
                f"The model cannot be loaded: its own code failed ({kind}).{_advice(directory, metadata)}"
            ) from error
        if isinstance(error, MemoryError):
            why = _TOO_LITTLE_MEMORY
        else:
            why = f"or not of the kind that the loader {quote(metadata.pyfunc['loader_module'])} reads"
        raise ModelUnreadable(
            f"The model cannot be loaded: {_file(directory, metadata)} cannot be read ({kind}). It is damaged, {why}."
            f"{_advice(directory, metadata)}"
        ) from error


def unread(directory: Path, metadata: MLModel, end: str) -> ModelUnreadable:
    """The error of a model whose load did not come back, in a process that nothing else was lost with.

    Args:
        end: how that ended, as a clause: "lightgbm ended its process (SIGSEGV)".
    """
    return ModelUnreadable(
        f"The model cannot be loaded: {_file(directory, metadata)} cannot be read: {end}. It is damaged, "
        f"{_TOO_LITTLE_MEMORY}.{_advice(directory, metadata)}"
    )


def _advice(directory: Path, metadata: MLModel) -> str:
    """What to do about other releases of the model's packages, if there are."""
    others = other_releases(directory, metadata)
    if not others:
        return ""
    return (
        f" It was saved with {listed(others)}. Install these releases, save the model again with those that are "
        f"installed, or serve it with {ISOLATION}."
    )


def _is_of_the_model(error: BaseException, directory: Path) -> bool:
    """Whether code of the model was running when the error was raised, or could not be compiled."""
    folders = tuple(f"{folder}{os.sep}" for folder in (directory.absolute(), directory.resolve()))
    if isinstance(error, SyntaxError) and (error.filename or "").startswith(folders):
        return True
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if OWNER in frame.f_builtins or frame.f_code.co_filename.startswith(folders):
            return True
        trace = trace.tb_next
    return False


def _file(directory: Path, metadata: MLModel) -> str:
    """The model's file, as MLmodel names it."""
    entries = [metadata.flavors.get(PYFUNC, {}), *metadata.flavors.values()]
    names = [entry.get(key) for entry in entries for key in _NAMED_BY]
    name = next((name for name in names if isinstance(name, str) and name), None)
    if name is None:
        return "a file of it"
    try:
        files = [path for path in (directory / name).glob("*") if path.is_file()]
    except (OSError, ValueError):
        files = []
    if files:
        return f"the file {quote(f'{name}/{files[0].name}')}" if len(files) == 1 else f"a file in {quote(name)}"
    return f"the file {quote(name)}"
