"""A registry and a scoring service, each in a process of its own, and hostile cases for both until time is up."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from tests.fixtures.services import Service
from tests.fuzz.bodies import infer_bodies, json_bodies, tables
from tests.fuzz.bodies.encodings import compressed
from tests.fuzz.case import Case, one_in, random_of
from tests.fuzz.finding import Finding
from tests.fuzz.models import good_models
from tests.fuzz.models.loads import FREE_BYTES, MAX_TIMES_ITS_FILES, Child, Directories, serve, size_bytes
from tests.fuzz.registry_calls import Operations
from tests.fuzz.servings import MODELS
from tests.fuzz.watch import Watch
from tests.serving.http_calls import Answer, request
from tiltyard.client import Client

MAX_STALL_S = 0.25
SENDERS = 3
# A trial load counts as memory of the service, beside all else that is under way.
TRIAL_BYTES = 256 << 20
# One case in so many is near the bounds.
LARGE_EACH = 150
ANSWER_TIMEOUT_S = 90.0
_LONG_ANSWER_BYTES = 1024 * 1024
# Beyond the number of cases, so that loads and requests share no choices.
_LOADS_FROM = 1_000_000_000
_DOCUMENT = "/api/tiltyard/v1/openapi.json"
# What was slow among others is sent again, alone, so often at most; it is slow when it is each time.
_AGAIN = 3
# And for so long in all, however many there are.
AGAIN_S = 1200.0


class Stalls(NamedTuple):
    """Stalls of a session.

    Attributes:
        count: how many there were among others, over the limit.
        alone_s: what cases stall for alone, each time, by their numbers: those over the limit.
        largest_s: the largest that a case makes alone, each time, be it over the limit or not.
        unexplained: those in which no case stalls alone, each with what was under way.
        together: in how many of those, sent again, all cases together do.
    """

    count: int
    alone_s: dict[int, float]
    largest_s: float
    unexplained: list[str]
    together: int


class Session:
    """Services under attack. `findings` are what must not be; `counts` are kinds and statuses."""

    def __init__(self, folder: Path, seed: int, kinds: Sequence[str] = tuple(good_models.KINDS)) -> None:
        self.findings: list[Finding] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._seed = seed
        self._noting = threading.Lock()
        self._loading = threading.Lock()
        # When each number was under way, and what was not answered in time.
        self._spans: dict[int, tuple[float, float]] = {}
        self._late: dict[int, str] = {}
        models = []
        for name, make in MODELS.items():
            make(folder / "models" / name)
            models += ["--model", f"{name}={folder / 'models' / name}"]
        (folder / "others").mkdir()
        good_models.save_all(folder / "others", kinds)
        self.directories = Directories(folder, folder / "models", folder / "others")
        self._child = Child()
        self._registry = Service("registry", "--data-dir", str(folder / "data"), log=folder / "registry.log").start()
        options = [*models, "--registry-url", self._registry.url, "--cache-dir", str(folder / "cache")]
        options += ["--trial-load-bytes", str(TRIAL_BYTES)]
        self._serving = Service("serving", *options, "--request-timeout-s", "30", log=folder / "serving.log").start()
        self._services = {"serving": self._serving, "registry": self._registry}
        self._operations = Operations(json.loads(request(self._registry.port, "GET", _DOCUMENT).body))
        self.watches = {name: Watch(service.port, service.pid) for name, service in self._services.items()}

    def __enter__(self) -> "Session":
        for watch in self.watches.values():
            watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()
        for name, watch in self.watches.items():
            watch.stop()
            for failure in watch.failures:
                self._find("no answer", f"{name}, /livez: {failure}")
        for name, service in self._services.items():
            if not service.running:
                self._find("crash", f"{name} is gone with {service.wait()}: {service.logs[-2000:]}")
                continue
            for line in faults(service.logs):
                self._find("logged", f"{name} logged {line[:600]}")
            if status := service.terminate():
                self._find("crash", f"{name} ended with {status} when it was asked to end")

    def attack(self, until: Callable[[int], bool], *, loads_until: Callable[[int], bool]) -> None:
        """Sends the cases whose numbers `until` does not refuse, and loads directories in the same way beside them.

        What was not answered in time, on a machine that may be busy with others, is sent again alone at the end.
        """
        numbers = itertools.takewhile(lambda number: not until(number), itertools.count())
        with ThreadPoolExecutor(SENDERS + 1) as pool:
            attackers = [pool.submit(self._send_all, numbers) for _ in range(SENDERS)]
            attackers.append(pool.submit(self._load_all, loads_until))
        for attacker in attackers:
            # What ended one of them early would else make the attack look like one that found nothing.
            attacker.result()
        late, self._late = self._late, {}
        for number, what in late.items():
            for _ in range(_AGAIN):
                self.send(number)
                if number not in self._late:
                    break
            else:
                self._find("late", f"case {number}, alone and {_AGAIN} times: {what}")

    def find_stalls(self) -> "Stalls":
        """Sends again all that was under way in stalls over the limit: each alone, then together what was together.

        What stalls so each time is a finding; what does not come again was made by others on the machine. What there
        was no time for is a finding, too, with its numbers.
        """
        until_s = time.monotonic() + AGAIN_S
        for watch in self.watches.values():
            watch.catch_up()
        slow = [found for watch in self.watches.values() for found in watch.slow if found.stall_s > MAX_STALL_S]
        suspects: dict[int, float] = {}
        unexplained: list[list[int]] = []
        told: list[str] = []
        for found in sorted(slow, key=lambda found: -found.stall_s):
            group = [
                number
                for number, (began_s, ended_s) in self._spans.items()
                if began_s < found.ended_s and ended_s > found.began_s
            ]
            for number in group:
                if number not in suspects and time.monotonic() < until_s:
                    suspects[number] = self._stall_again_s([number])
            if all(suspects.get(number, 0.0) <= MAX_STALL_S for number in group) and group not in unexplained:
                unexplained.append(group)
                told.append(
                    f"{found.stall_s:.2f} s, in which the loop ran for {found.loop_s:.2f} s, the busiest other thread "
                    f"for {found.busy_s:.2f} s, which waited for {found.turns_s:.2f} s: {_listed(group)}"
                )
        together = 0
        for group in unexplained:
            if time.monotonic() > until_s:
                self._find("unsent", f"no time was left to send again what stalled together: {_listed(group)}")
            elif len(group) > 1 and self._stall_again_s(group, find=False) > MAX_STALL_S:
                together += 1
                self._stall_again_s(self._smallest(group))
        alone_s = {number: stall_s for number, stall_s in suspects.items() if stall_s > MAX_STALL_S}
        return Stalls(len(slow), alone_s, max(suspects.values(), default=0.0), told, together)

    def _smallest(self, group: list[int]) -> list[int]:
        """Half of the group, again and again, while that stalls as all of it did."""
        while len(group) > 1:
            halves = group[: len(group) // 2], group[len(group) // 2 :]
            half = next((half for half in halves if self._stall_again_s(half, find=False) > MAX_STALL_S), None)
            if half is None:
                break
            group = half
        return group

    def _stall_again_s(self, numbers: list[int], *, find: bool = True) -> float:
        """The largest stall that comes each time while these numbers are under way, some times; 0 for none."""
        least_s = dict.fromkeys(self.watches, float("inf"))
        for _ in range(_AGAIN):
            began_s = time.monotonic()
            self.again_together(numbers)
            for name, watch in self.watches.items():
                least_s[name] = min(least_s[name], watch.largest_stall_s(began_s))
            if max(least_s.values()) <= MAX_STALL_S:
                break
        for name, stall_s in least_s.items():
            if find and stall_s > MAX_STALL_S:
                self._find(
                    "stall", f"{name} stalled for {stall_s:.2f} s, each of {_AGAIN} times, at {self._named(numbers)}"
                )
        return max(least_s.values())

    def case(self, number: int) -> Case:
        """The case of that number."""
        rng = random_of(self._seed, number)
        makers = (
            *(json_bodies.scoring_json, json_bodies.scoring_json, json_bodies.v1_json),
            *(tables.csv, tables.parquet, tables.arrow, infer_bodies.infer_json, infer_bodies.infer_binary),
        )
        if one_in(rng, 3):
            case = self._operations.call(rng)
            if one_in(rng, 8):
                # A body of the other service.
                other = rng.choice(makers)(rng)
                case = replace(case, kind="registry, other body", body=other.body, headers=other.headers)
        elif one_in(rng, LARGE_EACH):
            case = json_bodies.large_json(rng)
        else:
            case = rng.choice(makers)(rng)
        if case.body and one_in(rng, 4):
            case = compressed(rng, case)
        if one_in(rng, 40):
            case = replace(case, method=rng.choice(["GET", "PUT", "HEAD", "DELETE", "PATCH"]))
        return case

    def again_together(self, numbers: Sequence[int]) -> None:
        """Sends those of these numbers once more, all at once."""
        threads = [threading.Thread(target=self.again, args=(number,)) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _named(self, numbers: Sequence[int]) -> str:
        """The options that send these again, and what they are."""
        cases = {number: self.case(number) for number in numbers if number < _LOADS_FROM}
        kinds = ", ".join(f"{case.kind}, {len(case.body)} bytes" for case in cases.values())
        together = " --together" if len(numbers) > 1 else ""
        return (
            f"--seed {self._seed} {' '.join(f'--case {number}' for number in numbers)}{together} ({kinds or 'loads'})"
        )

    def again(self, number: int) -> None:
        """Sends the case, or loads the directory, of that number once more."""
        if number >= _LOADS_FROM:
            # One after the other: each directory takes the place of the one before.
            with self._loading, Client(self._registry.url) as client:
                self._load(client, number)
        else:
            self.send(number)

    def send(self, number: int) -> None:
        """Sends one case, and judges its answer."""
        case = self.case(number)
        what = f"case {number} ({case.kind} {case.method} {case.path[:200]}, {len(case.body)} bytes)"
        service = self._services[case.target]
        began_s = time.monotonic()
        try:
            answer = request(service.port, case.method, case.path, case.body, case.headers, ANSWER_TIMEOUT_S)
        except TimeoutError:
            self._late[number] = f"{what}: no answer in {ANSWER_TIMEOUT_S:g} s"
            return
        except (OSError, http.client.HTTPException) as error:
            # What is refused from its head on may be closed while it is still sent.
            self._note(case.kind, "broken off" if isinstance(error, ConnectionError) else type(error).__name__)
            if not isinstance(error, ConnectionError) or not service.running:
                self._find("no answer", f"{what}: {error!r}")
            return
        finally:
            self._spans[number] = began_s, time.monotonic()
        self._note(case.kind, str(answer.status))
        self._late.pop(number, None)
        if answer.status == 504:
            self._late[number] = f"{what}: {answer.body[:200]!r}"
        elif problem := _problem(answer):
            self._find(problem.kind, f"{what}: {problem.what}")

    def _send_all(self, numbers: Iterator[int]) -> None:
        while True:
            with self._noting:
                number = next(numbers, None)
            if number is None:
                return
            self.send(number)

    def _load_all(self, until: Callable[[int], bool]) -> None:
        with Client(self._registry.url) as client:
            for number in itertools.count(_LOADS_FROM):
                if until(number - _LOADS_FROM):
                    break
                self._load(client, number)

    def _load(self, client: Client, number: int) -> None:
        path, spoiled = self.directories.hostile(number - _LOADS_FROM, random_of(self._seed, number))
        what = f"load {number} ({spoiled.file})"
        loaded = self._child.load(path)
        said = loaded.said
        kind = f"load of {spoiled.kind}"
        self._note(kind, " ".join(said.split()[:2]).rstrip(":"))
        if said.startswith(("raised", "leaked")):
            self._find("load " + " ".join(said.split()[:2]).rstrip(":"), f"{what}: {said}")
        if said.startswith(("crashed", "stuck")) and not (spoiled.runs or spoiled.native):
            self._find("crash" if said.startswith("crashed") else "stuck", f"{what}: {said}")
        large = loaded.grown_bytes > FREE_BYTES + MAX_TIMES_ITS_FILES * size_bytes(path)
        if large and not spoiled.native:
            self._find("memory", f"{what}: {loaded.grown_bytes >> 20} MiB, of files of {size_bytes(path)} bytes")
        # What ends a process must not end the service, nor must what takes all memory; of the rest some will do.
        ends = large or said.startswith(("crashed", "stuck"))
        if spoiled.runs or (ends and not spoiled.native) or (number % 4 and not ends):
            return
        began_s = time.monotonic()
        try:
            status, message = serve(client, self._serving.port, path, f"main.fuzz.m{number % 7}")
        except (OSError, http.client.HTTPException) as error:
            self._find("no answer", f"{what}, served: {error!r}")
            return
        finally:
            self._spans[number] = began_s, time.monotonic()
        self._note("endpoint of a hostile model", str(status))
        if status >= 500:
            self._find("5xx", f"{what}, served: {status} {message}")

    def _note(self, kind: str, outcome: str) -> None:
        with self._noting:
            self.counts[kind, outcome] += 1

    def _find(self, kind: str, what: str) -> None:
        with self._noting:
            self.findings.append(Finding(kind, what))


def _problem(answer: Answer) -> Finding | None:
    """What is wrong with an answer, if anything is."""
    told = answer.body[:300]
    if answer.status >= 500 and answer.status != 501:
        # A service that has no room says so, and when to come again.
        if answer.status == 503 and "retry-after" in answer.headers:
            return None
        return Finding("5xx", f"{answer.status} {told!r}")
    if answer.headers.get("content-type", "").partition(";")[0] == "application/json" and answer.body:
        try:
            _check_json(answer.body)
        except ValueError:
            return Finding("no JSON", f"{answer.status} {told!r}")
    return None


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def faults(log: str) -> Iterator[str]:
    """The lines of a log that tell of a fault of ours.

    Python tells of what a library's call-back raised, and nobody can catch, as an exception that it ignored.
    """
    before = ""
    for line in log.splitlines():
        if _is_fault(line) and not (line.startswith("Traceback") and before.startswith("Exception ignored")):
            yield line
        before = line


def _is_fault(line: str) -> bool:
    """What a model does wrong is a warning."""
    return '"level":"ERROR"' in line or '"level":"CRITICAL"' in line or line.startswith(("Traceback", "Fatal"))


def _check_json(text: bytes) -> None:
    """Nothing, if it is JSON. Raises: ValueError."""
    if len(text) > _LONG_ANSWER_BYTES:
        # Without the values, which would take many times its bytes. It is stricter: no text has half a character.
        with contextlib.suppress(msgspec.DecodeError):
            msgspec.json.decode(text, type=msgspec.Raw)
            text.decode()
            return
    json.loads(text, parse_constant=_no_json)


def _no_json(token: str) -> NoReturn:
    raise ValueError(token)


def until_time(seconds: float) -> Callable[[int], bool]:
    """True for every number once so many seconds are over."""
    end_s = time.monotonic() + seconds
    return lambda _number: time.monotonic() > end_s
