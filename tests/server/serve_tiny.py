"""`python -m tests.server.serve_tiny WORKERS [NAME=VALUE …] --port PORT` serves the small application."""

import sys
from typing import Any

import msgspec

from tests.server.tiny import Settings
from tiltyard.server.process import work
from tiltyard.server.service_pool import ServicePool
from tiltyard.server.settings import Drain
from tiltyard.server.sockets import Address
from tiltyard.server.supervisor import run


def main(workers: str, *arguments: str) -> int:
    """Serves until told to stop."""
    *words, _, port = arguments
    settings = msgspec.convert(dict(word.split("=") for word in words), Settings, strict=False, dec_hook=_path)
    job = work("tiny", "tests.server.tiny:create_app", settings, Drain(settings.drain_delay_s))
    pool = ServicePool(job, Address("127.0.0.1", int(port)), int(workers))
    return run([pool], on_ready=lambda: print("ready", flush=True))


def _path(kind: type, value: Any) -> Any:
    return kind(value)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
