"""`tiltyard demo --stay`, which is `make up`: two services to play with, that end with it."""

import signal
import socket
from pathlib import Path

import psutil

from tests.fixtures.processes import unused_port
from tests.fixtures.services import Service
from tests.fixtures.waiting import wait_until


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def test_sigterm_ends_both_services(tmp_path: Path) -> None:
    """Who ends it with SIGTERM, as make does for its own, finds both ports free and no process left."""
    registry_port = unused_port()
    options = ("--stay", "--data-dir", str(tmp_path / "data"), "--registry-port", str(registry_port))
    demo = Service("demo", *options, log=tmp_path / "demo.log", port_flag="--serving-port")
    demo.start(wait=False)
    try:
        wait_until(lambda: "Ctrl-C stops both" in demo.logs or not demo.running, 120, told=lambda: demo.logs)
        assert _listens(registry_port) and _listens(demo.port), demo.logs
        started = psutil.Process(demo.pid).children(recursive=True)
        assert started
        demo.signal(signal.SIGTERM)
        wait_until(lambda: not demo.running, told=lambda: demo.logs)
        assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert not _listens(registry_port) and not _listens(demo.port)
        assert "Stopping." in demo.logs
    finally:
        demo.kill()
