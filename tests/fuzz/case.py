"""One request that nobody sane would send, made from a seed and a number, so that it can be made again."""

from dataclasses import dataclass, field
from random import Random
from typing import Literal

Target = Literal["serving", "registry"]


@dataclass(frozen=True)
class Case:
    """A request to one of the services; `kind` is what it is counted under."""

    kind: str
    target: Target
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def random_of(seed: int, number: int) -> Random:
    """The source of all choices of one case."""
    return Random(f"{seed}:{number}")  # to be repeated, not to be secret


def one_in(rng: Random, times: int) -> bool:
    """True once in so many times."""
    return rng.randrange(times) == 0
