"""Who asks for predictions, and of which models they may ask for some."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tiltyard_serving.models.served_model import ServedModel

Headers = Sequence[tuple[bytes, bytes]]


class Caller(NamedTuple):
    """Who asks."""

    name: str


class Callers(Protocol):
    """Knows callers by their requests. Called in the event loop for each request: it waits for nothing."""

    def of(self, headers: Headers) -> Caller | None:
        """Who sends a request with these headers, whose names are in lower case; None for who has to say so first.

        A head that comes again, byte for byte, is not read again: whether a caller still is who they were is for
        `may_score` to say.
        """

    def may_score(self, caller: Caller, model: ServedModel) -> bool:
        """Whether they may have predictions of the model. Asked for every request."""


class Everybody:
    """Takes everybody for the same caller, who may ask for anything."""

    _ANYBODY = Caller("anonymous")

    def of(self, headers: Headers) -> Caller:
        del headers
        return self._ANYBODY

    def may_score(self, caller: Caller, model: ServedModel) -> bool:
        del caller, model
        return True
