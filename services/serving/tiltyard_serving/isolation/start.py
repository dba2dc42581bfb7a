"""Run by path with any Python: makes the light library of the server importable there, and nothing else of its own.

`python -P start.py FOLDER … -- ARGUMENT …`: each FOLDER is that of a package, as the server imports it. The
environment's own packages are found as ever, so a model meets the versions that it asks for.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def offer(folder: Path) -> None:
    """Makes the package in `folder` importable by its name, without what lies beside it."""
    spec = spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )  # fmt: skip
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no package in {folder}")
    package = sys.modules[folder.name] = module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    end = sys.argv.index("--")
    for name in sys.argv[1:end]:
        offer(Path(name))
    from tiltyard_serving.isolation.worker import main

    sys.exit(main(*sys.argv[end + 1 :]))
