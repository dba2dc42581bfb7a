"""Whole messages over a connected socket."""

import socket
import struct

_LENGTH = struct.Struct("!Q")


def send(connection: socket.socket, message: bytes) -> None:
    """Sends one message. Raises: OSError when the other side is gone or the socket's time is over."""
    connection.sendall(_LENGTH.pack(len(message)))
    connection.sendall(message)


def receive(connection: socket.socket) -> bytearray:
    """The next message.

    Raises:
        EOFError: the other side is gone.
        OSError: the socket's time is over, among others.
    """
    [length] = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return _exactly(connection, length)


def _exactly(connection: socket.socket, size_bytes: int) -> bytearray:
    data = bytearray(size_bytes)
    left = memoryview(data)
    while left:
        came = connection.recv_into(left)
        if not came:
            raise EOFError("the other side has closed the connection")
        left = left[came:]
    return data
