"""skops files, loaded by a list of types that we own.

A skops file says which types it is made of. skops itself trusts scikit-learn's public estimators and some
numpy; to these we add what `skops_types` lists. What a file asks for
beyond them is refused, whatever its MLmodel says, unless the operator lists it in the environment
variable TILTYARD_SKOPS_TRUSTED_TYPES (full names, separated by commas).
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tiltyard.errors import PermissionDenied, name_list
from tiltyard.pyfunc.format import skops_types
from tiltyard.pyfunc.format.tree_bounds import check_trees

VARIABLE = "TILTYARD_SKOPS_TRUSTED_TYPES"


def untrusted_types(path: Path, *, trusted_types: Iterable[str] = ()) -> list[str]:
    """The types in the file that neither skops, nor our list, nor the operator trusts."""
    trusted = skops_types.trusted_types().union(trusted_types, _from_environment())
    return [name for name in types_beyond_skops(path) if name not in trusted]


def types_beyond_skops(path: Path) -> list[str]:
    """The types in the file that skops alone does not trust."""
    import skops.io

    return list(skops.io.get_untrusted_types(file=path))


def load_skops(path: Path, *, trusted_types: Iterable[str] = ()) -> Any:
    """The object in a skops file, if all its types are trusted and its trees point into themselves.

    Args:
        trusted_types: further types that the operator trusts.

    Raises:
        PermissionDenied: it holds other types; the message names them and the setting.
        InvalidParameterValue: its trees do not.
    """
    refused = untrusted_types(path, trusted_types=trusted_types)
    if refused:
        raise PermissionDenied(
            f"The skops model holds types that are not trusted: {name_list(refused)}. If loading them is safe, the "
            f"operator may list them in the environment variable {VARIABLE}."
        )
    import skops.io

    model = skops.io.load(path, trusted=types_beyond_skops(path))
    check_trees(model)
    return model


def _from_environment() -> set[str]:
    return {name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()}
