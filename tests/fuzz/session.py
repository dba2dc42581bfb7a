"""A registry and a scoring service, each in a process of its own, and hostile cases for both until time is up."""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NoReturn

from tests.fixtures.services import Service
from tests.fuzz import infer_bodies, json_bodies, tables
from tests.fuzz.case import Case, one_in, random_of
from tests.fuzz.encodings import compressed
from tests.fuzz.loads import Child, Directories, serve
from tests.fuzz.registry_calls import Operations
from tests.fuzz.servings import MODELS
from tests.fuzz.watch import Watch
from tests.serving.http_calls import Answer, request
from tiltyard.client import Client

SENDERS = 3
ANSWER_TIMEOUT_S = 90.0
# Beyond the number of cases, so that loads and requests share no choices.
_LOADS_FROM = 1_000_000_000
_DOCUMENT = "/api/tiltyard/v1/openapi.json"


class Session:
    """Services under attack. `findings` are what must not be; `counts` are kinds and statuses."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.findings: list[str] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._seed = seed
        self._noting = threading.Lock()
        self._under_way: dict[str, str] = {}
        models = []
        for name, make in MODELS.items():
            make(folder / "models" / name)
            models += ["--model", f"{name}={folder / 'models' / name}"]
        self.directories = Directories(folder / "models", folder)
        self._registry = Service("registry", "--data-dir", str(folder / "data"), log=folder / "registry.log").start()
        options = [*models, "--registry-url", self._registry.url, "--cache-dir", str(folder / "cache")]
        self._serving = Service("serving", *options, "--request-timeout-s", "30", log=folder / "serving.log").start()
        self._services = {"serving": self._serving, "registry": self._registry}
        self._operations = Operations(json.loads(request(self._registry.port, "GET", _DOCUMENT).body))
        self.watches = {name: Watch(service.port, service.pid, self._label) for name, service in self._services.items()}

    def __enter__(self) -> "Session":
        for watch in self.watches.values():
            watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for name, watch in self.watches.items():
            watch.stop()
            self.findings += [f"{name} {failure}" for failure in watch.failures]
        for name, service in self._services.items():
            if not service.running:
                self.findings.append(f"{name} is gone with {service.wait()}: {service.logs[-2000:]}")
                continue
            self.findings += [f"{name} logged {line[:600]}" for line in service.logs.splitlines() if _is_fault(line)]
            if status := service.terminate():
                self.findings.append(f"{name} ended with {status} when it was asked to end")

    def attack(self, until: Callable[[int], bool], *, loads_until: Callable[[int], bool]) -> None:
        """Sends the cases whose numbers `until` does not refuse, and loads directories in the same way beside them."""
        numbers = itertools.takewhile(lambda number: not until(number), itertools.count())
        threads = [threading.Thread(target=self._send_all, args=(numbers, str(at))) for at in range(SENDERS)]
        threads.append(threading.Thread(target=self._load_all, args=(loads_until,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def case(self, number: int) -> Case:
        """The case of that number."""
        rng = random_of(self._seed, number)
        if one_in(rng, 3):
            return self._operations.call(rng)
        makers = (
            *(json_bodies.scoring_json, json_bodies.scoring_json, json_bodies.v1_json),
            *(tables.csv, tables.parquet, tables.arrow, infer_bodies.infer_json, infer_bodies.infer_binary),
        )
        case = rng.choice(makers)(rng)
        if one_in(rng, 4):
            case = compressed(rng, case)
        if one_in(rng, 40):
            case = replace(case, method=rng.choice(["GET", "PUT", "HEAD", "DELETE", "PATCH"]))
        return case

    def send(self, number: int) -> None:
        """Sends one case, and judges its answer."""
        case = self.case(number)
        self._under_way[threading.current_thread().name] = f"case {number} ({case.kind}, {len(case.body)} bytes)"
        service = self._services[case.target]
        try:
            answer = request(service.port, case.method, case.path, case.body, case.headers, ANSWER_TIMEOUT_S)
        except (OSError, http.client.HTTPException) as error:
            # What is refused from its head on may be closed while it is still sent.
            self._note(case.kind, "broken off" if isinstance(error, ConnectionError) else type(error).__name__)
            if not isinstance(error, ConnectionError) or not service.running:
                self._find(f"case {number} ({case.kind} {case.method} {case.path[:200]}): {error!r}")
            return
        self._note(case.kind, str(answer.status))
        if problem := _problem(answer):
            self._find(f"case {number} ({case.kind} {case.method} {case.path[:200]}): {problem}")

    def _send_all(self, numbers: Iterator[int], _sender: str) -> None:
        while True:
            with self._noting:
                number = next(numbers, None)
            if number is None:
                return
            self.send(number)

    def _load_all(self, until: Callable[[int], bool]) -> None:
        child = Child()
        with Client(self._registry.url) as client:
            for number in itertools.count():
                if until(number):
                    break
                rng = random_of(self._seed, _LOADS_FROM + number)
                self._load(child, client, number, rng)
        child.close()

    def _load(self, child: Child, client: Client, number: int, rng: Random) -> None:
        path, file = self.directories.hostile(rng)
        self._under_way["loads"] = f"load {number} ({file})"
        said = child.load(path)
        self._note(f"load of {Path(file).suffix or file}", " ".join(said.split()[:2]).rstrip(":"))
        if said.startswith(("raised", "ended", "crashed")):
            self._find(f"load {number} ({file}): {said}")
        if number % 4 == 0 and not said.startswith("crashed"):
            status, message = serve(client, self._serving.port, path, f"main.fuzz.m{number % 7}")
            self._note("endpoint of a hostile model", str(status))
            if status >= 500:
                self._find(f"load {number} ({file}), served: {status} {message}")

    def _label(self) -> str:
        return ", ".join(list(self._under_way.values()))

    def _note(self, kind: str, outcome: str) -> None:
        with self._noting:
            self.counts[kind, outcome] += 1

    def _find(self, what: str) -> None:
        with self._noting:
            self.findings.append(what)


def _problem(answer: Answer) -> str | None:
    """What is wrong with an answer, if anything is."""
    told = answer.body[:300]
    if answer.status >= 500 and answer.status != 501:
        # A service that has no room says so, and when to come again.
        if answer.status == 503 and "retry-after" in answer.headers:
            return None
        return f"{answer.status} {told!r}"
    if answer.headers.get("content-type", "").partition(";")[0] == "application/json" and answer.body:
        try:
            json.loads(answer.body, parse_constant=_no_json)
        except ValueError:
            return f"{answer.status} with what is no JSON: {told!r}"
    return None


def _is_fault(line: str) -> bool:
    """Whether a line of the log tells of a fault of ours: what a model does wrong is a warning."""
    return '"level":"ERROR"' in line or '"level":"CRITICAL"' in line or line.startswith(("Traceback", "Fatal"))


def _no_json(token: str) -> NoReturn:
    raise ValueError(token)


def until_time(seconds: float) -> Callable[[int], bool]:
    """True for every number once so many seconds are over."""
    end_s = time.monotonic() + seconds
    return lambda _number: time.monotonic() > end_s
