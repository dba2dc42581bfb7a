"""The commands that start the services, driven as an operator drives them."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from tests.fixtures.services import Service, StartService
from tests.fixtures.waiting import PATIENCE_S, wait_until
from tests.server.test_workers import hears_sigterm
from tiltyard.cli import main

MIB = 1024 * 1024


def get_json(url: str) -> dict:
    """The JSON body of a GET."""
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def post_json(url: str, body: dict) -> dict:
    """The JSON body that a POST is answered with."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def quartile_s(service: Service, path: str) -> float:
    """The time within which a quarter of sequential GETs over one kept connection is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    times_s = []
    for _ in range(101):
        started = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        times_s.append(time.perf_counter() - started)
    connection.close()
    return sorted(times_s)[25]


def test_a_registry_stays_below_150_mb(registry: StartService) -> None:
    """On an empty embedded store it is small."""
    service = registry()
    assert psutil.Process(service.pid).memory_info().rss < 150 * MIB
    assert service.terminate() == 0


def test_a_shared_registry_answers_on_each_database(shared_registry: Service) -> None:
    """The same command serves both databases."""
    assert shared_registry.healthy()


def test_a_registry_that_was_killed_starts_again_on_the_same_data(registry: StartService) -> None:
    """kill -9 leaves nothing behind that stops the next start."""
    service = registry()
    service.kill()
    service.restart()
    assert service.healthy()


def test_variables_say_what_flags_say(registry: StartService, tmp_path: Path) -> None:
    """A setting given as a variable is taken; a flag beats it."""
    other = tmp_path / "by-variable"
    service = registry(
        env={"TILTYARD_REGISTRY_WORKERS": "2", "TILTYARD_DATA_DIR": str(other), "TILTYARD_ACCESS_LOG": "0"}
    )
    assert len(psutil.Process(service.pid).children()) == 2
    assert not other.exists()


def test_a_service_told_to_stop_while_it_is_being_imported_ends_in_order(tmp_path: Path) -> None:
    """SIGTERM exits 0 though nothing serves yet."""
    service = Service("registry", "--data-dir", str(tmp_path / "data"), log=tmp_path / "log").start(wait=False)
    wait_until(lambda: hears_sigterm(service.pid))
    assert service.terminate() == 0


@pytest.mark.parametrize("module", ["tiltyard_registry.cli.registry", "tiltyard_registry.app"])
@pytest.mark.parametrize("told", ["SIGTERM", "SIGINT"])
def test_a_signal_that_comes_while_python_calls_back_is_heard(tmp_path: Path, module: str, told: str) -> None:
    """Between two imports, where an exception of whoever handles the signal would be printed and forgotten."""
    code = f"""
import os, signal, sys, weakref
class Thing: pass
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            thing = Thing()
            told = weakref.ref(thing, lambda _: [os.kill(os.getpid(), signal.{told}) for _ in range(2)])
            del thing
sys.meta_path.insert(0, Finder())
from tiltyard.cli import main
main(["registry", "--port", "0", "--data-dir", {str(tmp_path / "data")!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PATIENCE_S, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_data_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    """The folder is named, and the reason; nothing else is said."""
    (tmp_path / "file").touch()
    for command in ("registry", "up"):
        result = CliRunner().invoke(main, [command, "--data-dir", str(tmp_path / "file" / "data")])
        assert result.exit_code == 1
        assert result.output == f"Error: --data-dir {tmp_path}/file/data cannot be written: Not a directory.\n"


def test_one_ctrl_c_stops_both_services(up: StartService) -> None:
    """`tiltyard up` starts both, says where they are, and ends both on SIGINT with status 0."""
    service = up()
    serving_port = int(service.command[service.command.index("--serving-port") + 1])
    processes = psutil.Process(service.pid).children(recursive=True)
    service.wait_for_log("Ctrl-C stops both.")
    assert f"Serving:  http://127.0.0.1:{serving_port}" in service.logs
    os.kill(service.pid, signal.SIGINT)
    assert service.wait(20) == 0
    assert psutil.wait_procs(processes, timeout=PATIENCE_S)[1] == []


def test_an_alias_look_up_over_a_kept_connection_waits_for_no_timer(registry: StartService) -> None:
    """With two workers look-ups of an alias have no floor of Nagle or delayed ACKs, which is 40 ms."""
    service = registry("--workers", "2", "--no-access-log")
    api = f"{service.url}/api/2.0/mlflow"
    post_json(f"{api}/registered-models/create", {"name": "main.ml.iris"})
    post_json(f"{api}/model-versions/create", {"name": "main.ml.iris", "source": "s3://elsewhere/iris"})
    post_json(f"{api}/registered-models/alias", {"name": "main.ml.iris", "alias": "champion", "version": "1"})
    path = "/api/2.0/mlflow/registered-models/alias?name=main.ml.iris&alias=champion"
    assert get_json(service.url + path)["model_version"]["version"] == "1"
    assert quartile_s(service, path) < 0.03
    assert quartile_s(service, "/health") < 0.03


@pytest.mark.parametrize("trusted", [False, True], ids=["by default", "with --trusted-proxies"])
def test_the_address_of_a_caller_is_taken_from_trusted_proxies_alone(registry: StartService, trusted: bool) -> None:
    """`X-Forwarded-For` is what anybody can write: the access log names who connected, unless the proxy is trusted."""
    service = registry("--log-format", "json", *(("--trusted-proxies", "127.0.0.1") if trusted else ()))
    request = urllib.request.Request(f"{service.url}/version", headers={"X-Forwarded-For": "203.0.113.9"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    service.wait_for_log("GET /version 200")
    [line] = [line for line in service.logs.splitlines() if "GET /version 200" in line]
    assert json.loads(line)["client"] == ("203.0.113.9" if trusted else "127.0.0.1")
