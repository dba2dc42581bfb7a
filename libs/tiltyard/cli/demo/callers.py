"""Applications that keep asking the scoring service, and count what they hear."""

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import click

_CALLERS = 8


@dataclass(frozen=True)
class Answer:
    """Predictions, and the version that made them."""

    model: str
    predictions: list[Any]


def post(url: str, body: str, session: Any = None) -> Answer:
    """The answer of one scoring request. Raises on anything but 200."""
    import httpx2

    send = session.post if session is not None else httpx2.post
    response = send(url, content=body, headers={"content-type": "application/json"}, timeout=10)
    response.raise_for_status()
    return Answer(response.headers["x-tiltyard-model"], response.json()["predictions"])


class Callers:
    """Applications that ask without pause, each on its own connection, and count what they hear."""

    def __init__(self, url: str, body: str) -> None:
        self._url, self._body = url, body
        self._stop = threading.Event()
        self._heard = threading.Condition()
        self._first: dict[str, float] = {}
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(_CALLERS)]
        self.answers: Counter[str] = Counter()
        self.failures = 0

    @property
    def total(self) -> int:
        """Requests answered or failed so far."""
        return self.answers.total() + self.failures

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        import httpx2

        with httpx2.Client() as session:
            while not self._stop.is_set():
                try:
                    model = post(self._url, self._body, session).model
                except httpx2.HTTPError:
                    model = None
                with self._heard:
                    if model is None:
                        self.failures += 1
                    else:
                        self.answers[model] += 1
                        self._first.setdefault(model, time.perf_counter())
                    self._heard.notify_all()

    def wait_for_answers(self, count: int) -> None:
        """Returns after `count` more requests."""
        with self._heard:
            goal = self.total + count
            if not self._heard.wait_for(lambda: self.total >= goal, timeout=30):
                raise click.ClickException("The scoring service stopped answering.")

    def first_answer_from(self, model: str) -> float:
        """When `model` answered first, on the clock of `time.perf_counter`."""
        with self._heard:
            if not self._heard.wait_for(lambda: model in self._first, timeout=30):
                raise click.ClickException(f"{model} did not answer within 30 s.")
            return self._first[model]
