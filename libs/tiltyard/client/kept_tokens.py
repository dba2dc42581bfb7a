"""The tokens that `tiltyard login` keeps for a user, one for each registry's address.

They lie in `tiltyard/credentials.json` of the user's configuration, which nobody else may read.
"""

import os
import tempfile
from pathlib import Path

import msgspec

from tiltyard.errors import InvalidParameterValue

# A folder that is not there, or is nobody's or somebody else's, keeps nothing for this user.
_NOTHING_KEPT = (FileNotFoundError, NotADirectoryError, PermissionError)


class _Entry(msgspec.Struct):
    token: str


def place() -> Path | None:
    """The file they lie in; None for a user without a home. Source of the place: the XDG base directories."""
    told = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    try:
        folder = told if told.is_absolute() else Path.home() / ".config"
    except RuntimeError:
        return None
    return folder / "tiltyard" / "credentials.json"


def kept_token(url: str) -> str | None:
    """The token that is kept for exactly this address.

    Raises:
        InvalidParameterValue: the file is not one that `keep_token` wrote.
    """
    found = _read().get(url)
    return None if found is None else found.token


def keep_token(url: str, token: str) -> Path:
    """Keeps a token for an address, in place of another one; answers in which file.

    Raises:
        InvalidParameterValue: the file is not one that this function wrote, or cannot be written.
    """
    return _write({**_read(), url: _Entry(token)})


def forget_token(url: str) -> bool:
    """Keeps no token for an address any more; whether there was one.

    Raises:
        InvalidParameterValue: the file is not one that `keep_token` wrote.
    """
    entries = _read()
    if entries.pop(url, None) is None:
        return False
    _write(entries)
    return True


def _read() -> dict[str, _Entry]:
    file = place()
    try:
        text = file.read_bytes() if file else b"{}"
    except _NOTHING_KEPT:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, _Entry])
    except msgspec.MsgspecError:
        # What it holds is not shown: it may be a secret.
        raise InvalidParameterValue(f"'{file}' is no file of tokens: remove it and run 'tiltyard login'.") from None


def _write(entries: dict[str, _Entry]) -> Path:
    file = place()
    if file is None:
        raise InvalidParameterValue("There is no home to keep a token in: set XDG_CONFIG_HOME.")
    try:
        _replace(file, msgspec.json.format(msgspec.json.encode(entries)) + b"\n")
    except OSError as error:
        raise InvalidParameterValue(f"'{file}' cannot be written ({error.strerror}).") from None
    return file


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    # Made anew beside it, readable to its owner alone before a byte is in it, and moved there in one step.
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
