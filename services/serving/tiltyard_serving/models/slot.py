"""What is current for one served model, and the leases that keep it alive while it answers."""

from collections.abc import Callable
from typing import Generic, TypeVar

from tiltyard.errors import TemporarilyUnavailable

T = TypeVar("T")


class Lease(Generic[T]):
    """Pins one value for one request: `with slot.lease() as value`. It is not retired before the last one ends."""

    __slots__ = ("_held",)

    def __init__(self, held: "_Held[T]") -> None:
        self._held = held

    def __enter__(self) -> T:
        self._held.leases += 1
        return self._held.value

    def __exit__(self, _kind: object, _error: object, _trace: object) -> None:
        held = self._held
        held.leases -= 1
        if held.replaced:
            held.retire_if_free()


class _Held(Generic[T]):
    __slots__ = ("_retire", "leases", "replaced", "value")

    def __init__(self, value: T, retire: Callable[[T], object]) -> None:
        self.value = value
        self.leases = 0
        self.replaced = False
        self._retire: Callable[[T], object] | None = retire

    def retire_if_free(self) -> None:
        if self.replaced and not self.leases and self._retire is not None:
            retire, self._retire = self._retire, None
            retire(self.value)


class Slot(Generic[T]):
    """Holds the current value. Used from one event loop, so a swap is a single step for everybody.

    `retire` is called once for every value that was replaced, as soon as nobody leases it.
    """

    def __init__(self, name: str, retire: Callable[[T], object]) -> None:
        self._name = name
        self._retire = retire
        self._held: _Held[T] | None = None

    @property
    def current(self) -> T | None:
        """The value that the next lease gets, if there is one."""
        return None if self._held is None else self._held.value

    def lease(self) -> Lease[T]:
        """A lease of the current value; enter it before the next `await`.

        Raises:
            TemporarilyUnavailable: there is none yet.
        """
        if self._held is None:
            raise TemporarilyUnavailable(f"The model {self._name} is not loaded yet.", retry_after_s=1)
        return Lease(self._held)

    def swap(self, value: T | None) -> None:
        """Makes `value` current; the one before it retires when its last lease ends."""
        before, self._held = self._held, None if value is None else _Held(value, self._retire)
        if before is not None:
            before.replaced = True
            before.retire_if_free()
