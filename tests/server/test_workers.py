"""Processes of a service: they share a port, replace their dead, drain, and never outlive their parent."""

import http.client
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.fixtures.processes import living_children
from tests.fixtures.services import Service
from tests.fixtures.waiting import PATIENCE_S, wait_until

StartTiny = Callable[..., Service]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[StartTiny]:
    """Gives a function `(workers, start=True, **settings)` that serves a small application."""
    started: list[Service] = []

    def create(workers: int, *, start: bool = True, port: int | None = None, **settings: object) -> Service:
        words = [f"{name}={value}" for name, value in ({"folder": tmp_path} | settings).items()]
        log = tmp_path / f"tiny-{len(started)}.log"
        service = Service(str(workers), *words, log=log, port=port, module="tests.server.serve_tiny")
        started.append(service)
        if start:
            service.start()
            service.wait_for_log("ready")
        return service

    yield create
    for service in started:
        service.kill()


def get(service: Service, path: str) -> str:
    """The body of a GET over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        connection.close()


def workers_of(service: Service) -> set[int]:
    """The process ids of the living workers."""
    return living_children(service.pid)


def pids_seen(service: Service, wanted: int) -> set[int]:
    """The workers that answer, asked over new connections until `wanted` of them did."""
    seen: set[int] = set()
    for _ in range(500):
        seen.add(int(get(service, "/pid")))
        if len(seen) == wanted:
            break
    return seen


def hears_sigterm(pid: int) -> bool:
    """Whether the process handles the signal."""
    [caught] = re.findall(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))


def test_one_worker_needs_no_process_of_its_own(tiny: StartTiny) -> None:
    """With one worker the command itself answers."""
    service = tiny(1)
    assert int(get(service, "/pid")) == service.pid
    assert workers_of(service) == set()


def test_several_workers_share_the_port(tiny: StartTiny) -> None:
    """Each of three workers answers some of the connections, the parent none."""
    service = tiny(3)
    assert pids_seen(service, 3) == workers_of(service)
    assert service.logs.count("ready") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_kept_connection_has_no_delayed_ack_floor(tiny: StartTiny, workers: int) -> None:
    """A quarter of the requests on one connection, if not all, take less than the 40 ms that a delayed ACK adds."""
    service = tiny(workers)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    times_s = []
    for _ in range(50):
        started = time.perf_counter()
        connection.request("GET", "/pid")
        connection.getresponse().read()
        times_s.append(time.perf_counter() - started)
    connection.close()
    assert sorted(times_s)[12] < 0.030


def test_a_dead_worker_is_replaced(tiny: StartTiny) -> None:
    """After kill -9 of a worker another one takes its place, and every connection is answered again."""
    service = tiny(2)
    before = workers_of(service)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(workers_of(service) - {victim}) == 2)
    wait_until(lambda: pids_seen(service, 2) == workers_of(service))
    assert len(workers_of(service) & before) == 1
    assert re.search(rf"worker {victim} ended with status -9", service.logs)


def test_requests_wait_for_the_replacement(tiny: StartTiny) -> None:
    """Connections that the kernel gave to a dead worker are answered by the next one."""
    service = tiny(2)
    os.kill(min(workers_of(service)), signal.SIGKILL)
    with ThreadPoolExecutor(8) as pool:
        assert all(pid.isdigit() for pid in pool.map(lambda _: get(service, "/pid"), range(40)))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_flight_and_exits_0(tiny: StartTiny, workers: int, sig: signal.Signals) -> None:
    """Requests under way get their answer, and the exit status says that all went well."""
    service = tiny(workers)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(get, service, "/slow/0.6") for _ in range(6)]
        wait_until(lambda: taken_up(service) >= 6)
        service.signal(sig)
        assert all(answer.result().isdigit() for answer in answers)
    assert service.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        get(service, "/pid")


class Caller(threading.Thread):
    """Asks without a pause until the port is closed, over connections that it keeps or not; notes what was lost."""

    def __init__(self, port: int, *, keeps: bool) -> None:
        super().__init__(daemon=True)
        self.answered = 0
        self.lost: list[str] = []
        self._port = port
        self._keeps = keeps

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            while True:
                connection.connect()
                while connection.sock is not None:
                    connection.request("POST", "/slow/0.001", b"{}")
                    connection.getresponse().read()
                    # After an answer that says so the connection has closed itself.
                    self.answered += 1
                    if not self._keeps:
                        connection.close()
        except ConnectionRefusedError:
            pass
        except (http.client.HTTPException, OSError) as error:
            self.lost.append(repr(error))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_orderly_stop_breaks_no_connection(tiny: StartTiny, workers: int) -> None:
    """Callers that never pause lose no request, on a kept connection or a new one, and then find the port closed."""
    service = tiny(workers, last_request_s=60)
    callers = [Caller(service.port, keeps=number % 2 == 0) for number in range(8)]
    for caller in callers:
        caller.start()
    wait_until(lambda: all(caller.answered > 5 or caller.lost for caller in callers), 60)
    service.signal(signal.SIGTERM)
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    assert [caller.lost for caller in callers] == [[]] * len(callers)
    assert service.wait(60) == 0


def test_a_late_request_on_an_idle_connection_is_answered(tiny: StartTiny) -> None:
    """After the port has closed a kept connection is answered once more, and told that this was the last time."""
    service = tiny(1, last_request_s=60)
    kept = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=20) for _ in range(4)]
    for connection in kept:
        connection.request("GET", "/pid")
        assert connection.getresponse().read()
    service.signal(signal.SIGTERM)
    wait_until(lambda: not is_open(service.port), 60)
    for connection in kept:
        connection.request("GET", "/pid")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["connection"]) == (200, "close") and answer.read()
    assert service.wait(60) == 0


def test_a_stop_does_not_wait_for_who_is_silent(tiny: StartTiny) -> None:
    """Connections that idle, or that never asked anything, are closed after a moment."""
    service = tiny(1)
    silent = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    idle = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    idle.request("GET", "/pid")
    assert idle.getresponse().read()
    service.signal(signal.SIGTERM)
    assert service.wait(20) == 0
    assert silent.recv(1) == b""


def begun(service: Service, *, used: bool) -> http.client.HTTPConnection:
    """A connection on which the server has read the beginning of a head, the first one or after an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.connect()
    if used:
        connection.request("GET", "/pid")
        assert connection.getresponse().read()
    connection.sock.sendall(b"GET /pid HTTP/1.1\r\nHost: a")
    # What was sent before this is read before this is answered.
    assert get(service, "/pid")
    return connection


@pytest.mark.parametrize("used", [True, False])
def test_a_stop_does_not_wait_for_the_rest_of_a_head(tiny: StartTiny, used: bool) -> None:
    """Who has begun a request and is silent is told so after a moment, long before the time of slow clients."""
    service = tiny(1)
    connection = begun(service, used=used)
    service.signal(signal.SIGTERM)
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert b"The server stops" in answer.read()
    connection.close()
    assert service.wait(60) == 0


@pytest.mark.parametrize("used", [True, False])
def test_a_head_that_comes_while_the_process_stops_is_answered(tiny: StartTiny, used: bool) -> None:
    """The rest of a head that comes in time is a request like any other."""
    service = tiny(1, last_head_s=60)
    connection = begun(service, used=used)
    service.signal(signal.SIGTERM)
    wait_until(lambda: not is_open(service.port), 60)
    connection.sock.sendall(b"\r\n\r\n")
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    assert (answer.status, answer.headers["connection"]) == (200, "close") and answer.read()
    connection.close()
    assert service.wait(60) == 0


def taken_up(service: Service) -> int:
    """How many requests it was asked to take its time for, and has begun."""
    return service.logs.count("taking its time")


def is_open(port: int) -> bool:
    """Whether somebody takes connections."""
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def test_long_polls_learn_that_the_process_drains(tiny: StartTiny) -> None:
    """A handler that waits on `app.state.draining` answers as soon as SIGTERM comes."""
    service = tiny(2)
    with ThreadPoolExecutor(2) as pool:
        polls = [pool.submit(get, service, "/until-drain") for _ in range(2)]
        wait_until(lambda: taken_up(service) >= 2)
        assert service.terminate() == 0
        assert all(poll.result().isdigit() for poll in polls)


def test_during_the_drain_delay_health_says_no_and_requests_are_answered(tiny: StartTiny) -> None:
    """A load balancer can see the end coming while nothing is refused yet."""
    service = tiny(1, drain_delay_s=4)
    service.signal(signal.SIGTERM)
    wait_until(lambda: not service.healthy())
    assert get(service, "/pid") == str(service.pid)
    assert service.wait() == 0


def test_kill_9_of_the_parent_leaves_no_worker(tiny: StartTiny) -> None:
    """Workers end by themselves when their parent is gone, and the port is free again."""
    service = tiny(2)
    orphans = [psutil.Process(pid) for pid in workers_of(service)]
    service.kill()
    _, alive = psutil.wait_procs(orphans, timeout=PATIENCE_S)
    assert alive == []
    assert tiny(2, port=service.port).healthy()


def test_a_second_signal_ends_at_once(tiny: StartTiny) -> None:
    """Who presses Ctrl-C twice does not wait for requests in flight, and the status tells of it."""
    service = tiny(2)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(get, service, "/slow/600")
        wait_until(lambda: taken_up(service))
        service.signal(signal.SIGINT)
        wait_until(lambda: not is_open(service.port))
        service.signal(signal.SIGINT)
        assert service.wait() == 1
        assert isinstance(slow.exception(PATIENCE_S), OSError | http.client.HTTPException)


def test_others_take_the_connections_of_one_that_is_away(tiny: StartTiny) -> None:
    """The kernel goes on giving connections to a dead worker's socket; nobody waits for the one that replaces it."""
    service = tiny(3, fail_after=3)
    victim, *survivors = workers_of(service)
    os.kill(victim, signal.SIGKILL)
    with ThreadPoolExecutor(8) as pool:
        answered = set(pool.map(lambda _: int(get(service, "/pid")), range(60)))
    assert answered <= set(survivors)


@pytest.mark.parametrize("workers", [1, 2])
def test_told_to_stop_before_it_serves_it_ends_in_order(tiny: StartTiny, workers: int) -> None:
    """SIGTERM exits 0 from the moment on that it is listened to, and with several workers at any moment of theirs."""
    service = tiny(workers, start=False).start(wait=False)
    wait_until(lambda: hears_sigterm(service.pid) and (workers == 1 or bool(workers_of(service))))
    assert service.terminate() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_that_cannot_start_ends_the_command(tiny: StartTiny, tmp_path: Path, workers: int) -> None:
    """The reason is printed without a traceback and the status is 1; nothing is tried again and again."""
    (tmp_path / "started").write_bytes(b"..")
    service = tiny(workers, start=False, fail_after=1).start(wait=False)
    assert service.wait() == 1
    assert "Error: Parameter 'fail_after' says no." in service.logs
    assert "Traceback" not in service.logs


def test_a_replacement_that_cannot_start_is_tried_again_with_pauses(tiny: StartTiny, tmp_path: Path) -> None:
    """While one place stays empty the other worker answers every connection."""
    service = tiny(2, fail_after=2)
    victim, survivor = workers_of(service)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: service.logs.count("says no") >= 2)
    assert service.logs.count("says no") < 10
    assert {get(service, "/pid") for _ in range(20)} == {str(survivor)}
    (tmp_path / "started").unlink()
    wait_until(lambda: len(pids_seen(service, 2)) == 2)
    assert service.terminate() == 0


def test_metrics_folder_is_gone_after_the_end(tiny: StartTiny) -> None:
    """Several workers share a folder for their metrics, which goes with them."""
    service = tiny(2)
    folder = Path(psutil.Process(min(workers_of(service))).environ()["PROMETHEUS_MULTIPROC_DIR"])
    assert folder.is_dir()
    assert service.terminate() == 0
    assert not folder.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_of_two_that_start_at_once_one_gets_the_port(tiny: StartTiny, workers: int) -> None:
    """The other one ends with the same clear line, however long either takes until it serves."""
    first = tiny(workers, start=False)
    second = tiny(workers, start=False, port=first.port)
    both = [service.start(wait=False) for service in (first, second)]
    wait_until(lambda: any("is taken" in service.logs for service in both))
    [refused] = [service for service in both if "is taken" in service.logs]
    [serves] = [service for service in both if service is not refused]
    assert refused.wait() == 1
    serves.wait_for_log("ready")
    assert "ready" not in refused.logs


@pytest.mark.parametrize("workers", [1, 2])
def test_a_taken_port_is_one_clear_line(tiny: StartTiny, workers: int) -> None:
    """A second service does not slip in beside the first, and says why."""
    first = tiny(2)
    second = tiny(workers, start=False, port=first.port).start(wait=False)
    assert second.wait() == 1
    assert f"127.0.0.1 port {first.port} is taken" in second.logs
