"""The real services, run as a reader would run them."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tiltyard_command(command: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tiltyard.cli", command)


@contextmanager
def service(command: str, *arguments: str) -> Iterator[None]:
    """Runs `tiltyard COMMAND …` for the length of a block, and stops it with SIGTERM."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [*tiltyard_command(command), *arguments], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield
        except BaseException:
            log.seek(0)
            click.echo(log.read()[-4000:], err=True)
            raise
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_healthy(url: str, *, timeout_s: float = 30) -> None:
    """Returns once `GET /health` answers 200. Raises after `timeout_s`."""
    import httpx2

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise click.ClickException(f"{url} did not become healthy within {timeout_s:.0f} s.")
