"""Where a service listens: which addresses are allowed, and the sockets its workers share."""

import contextlib
import ctypes
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

import click

# How many connections wait until they are taken.
_BACKLOG = 2048
# Of Linux; the socket module does not name it.
_SO_ATTACH_FILTER = 26
# For the kernel's packet filter, each line an instruction (code, then, else, operand) on a TCP header: what has the
# flag SYN and not ACK is dropped, all else let in.
_WITHOUT_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF))
)


class Address(NamedTuple):
    """A host and a port. Port 0 asks for any free one."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """`http://host:port`, with a host that a client on this machine can use."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - told apart, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def check_host(host: str, *, allow_unauthenticated: bool) -> str:
    """`host`, if a service without authentication may listen there.

    Raises:
        click.UsageError: it is no address, or it reaches beyond this machine and nobody allowed that.
    """
    if allow_unauthenticated or _is_loopback(host):
        return host
    raise click.UsageError(
        f"--host {host} is reachable from other machines, and nothing here asks who is calling. "
        "Use 127.0.0.1 with an authenticating proxy in front, or say --allow-unauthenticated."
    )


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise click.UsageError(f"--host {host}: no such address.") from None
    return all(ipaddress.ip_address(str(row[4][0]).partition("%")[0]).is_loopback for row in found)


def bind(address: Address, workers: int = 1) -> list[socket.socket]:
    """One listening socket per worker, all on the same port.

    They listen before anybody serves: who connects meanwhile waits, and a second service finds the port taken.
    Several workers share the port through SO_REUSEPORT, so the kernel spreads the connections. Each socket is
    made with its protocol named and TCP_NODELAY set: otherwise a reply can wait 40 ms for a delayed ACK.

    Raises:
        click.ClickException: the port is taken, or the address cannot be bound.
    """
    try:
        # SO_REUSEPORT would let a second service slip in beside a first one. A socket without it may not, and once it
        # listens, no other may either: only from then on it is shared.
        listeners = [bind_one(address, shared=False)]
        if workers > 1:
            listeners[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            port = listeners[0].getsockname()[1]
            listeners += [bind_one(Address(address.host, port), shared=True) for _ in range(workers - 1)]
    except OSError as error:
        raise click.ClickException(_reason(address, error)) from None
    return listeners


def bind_one(address: Address, *, shared: bool) -> socket.socket:
    """One listening socket; a `shared` one may have others on the same port.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def begin_closing(listener: socket.socket) -> None:
    """Lets nobody begin to connect any more, where the system can do that; who has begun still gets through.

    Without it whoever connects between the last `accept` and the end of the socket is lost. Who comes too late asks
    again after a second, by the rules of TCP, and finds another socket or the port closed.
    """
    program = ctypes.create_string_buffer(_WITHOUT_SYN)
    count = len(_WITHOUT_SYN) // struct.calcsize("HBBI")
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(program)))


def connected(listener: socket.socket) -> Iterator[socket.socket]:
    """Accepts all who have connected, and waits for nobody."""
    listener.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def _reason(address: Address, error: OSError) -> str:
    place = f"{address.host} port {address.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is taken: another process listens there. Stop it, or choose another port."
    if error.errno == errno.EACCES:
        return f"{place} needs privileges that this user lacks: choose a port above 1023."
    return f"Cannot listen on {place}: {error.strerror or error}."
