"""Large bodies, received where they stay: not through the parser, which would cut and copy them piece by piece."""

import asyncio

from tiltyard.server.direct import DirectConnection, DirectCycle

# What is missing of a body has to be so much to be worth a change of hands.
LARGE_BYTES = 256 * 1024
_THROWN_AWAY_BYTES = 64 * 1024


class LargeBody(asyncio.BufferedProtocol):
    """Receives the rest of one body in the place of its connection, and gives the transport back at its end."""

    def __init__(self, connection: DirectConnection, cycle: DirectCycle) -> None:
        self._connection = connection
        self._cycle = cycle
        self._body: memoryview | None = None
        if not cycle.is_answered:
            self._body = connection.direct.memory(cycle.size_bytes)
            start = cycle.received_elsewhere(self.drop)
            self._body[: len(start)] = start

    def receive(self) -> None:
        """Takes the place of the connection."""
        self._connection.transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: never beyond the end of the body."""
        del sizehint
        missing_bytes = self._cycle.missing_bytes
        if self._body is None:
            return memoryview(bytearray(min(_THROWN_AWAY_BYTES, missing_bytes)))
        return self._body[-missing_bytes:]

    def buffer_updated(self, nbytes: int) -> None:
        """Answers the request once its body is whole."""
        connection = self._connection
        self._cycle.count(nbytes)
        if not self._cycle.missing_bytes:
            connection.transport.set_protocol(connection)
            if self._body is not None:
                self._cycle.give(self._body)
            connection.body_received()
        connection.arrived(nbytes)

    def drop(self) -> None:
        """The request is answered: what comes of its body from now on is thrown away."""
        self._body = None

    # The rest is passed on.

    def eof_received(self) -> None:
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()
