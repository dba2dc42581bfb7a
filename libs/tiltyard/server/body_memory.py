"""How much memory the bodies may take that a process is receiving, over all its connections together."""

from tiltyard.errors import NothingDone

# Bodies up to this size are not worth counting: a connection's own buffers take as much.
FREE_BYTES = 64 * 1024


class BodyMemory:
    """What bodies under way take of one bound. Used in one event loop."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0


class Held:
    """What one body takes, nothing at first, until it is given back."""

    __slots__ = ("_memory", "size_bytes")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.size_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Takes so much more. Raises: NothingDone: with it, all bodies together would be over the bound."""
        memory = self._memory
        if memory.used_bytes + size_bytes > memory.limit_bytes and self.size_bytes + size_bytes > FREE_BYTES:
            raise NothingDone(
                f"The bodies of all requests under way would be over the limit 'max_arriving_bytes' of "
                f"{memory.limit_bytes} bytes together.",
                retry_after_s=1,
            )
        memory.used_bytes += size_bytes
        self.size_bytes += size_bytes

    def give_back(self) -> None:
        """Gives all of it back. Again does nothing."""
        self._memory.used_bytes -= self.size_bytes
        self.size_bytes = 0
