"""A named endpoint: which of its models answers a request."""

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple

from tiltyard.uri import ModelUri
from tiltyard_serving.endpoints.config import EndpointConfig, ServedEntity
from tiltyard_serving.endpoints.shadow import Shadow
from tiltyard_serving.models.served_model import ServedModel
from tiltyard_serving.operations.metrics import LoopTick, Telemetry

_KEY_SPACE = 2**64


class Member(NamedTuple):
    """One model of an endpoint."""

    names: ModelUri
    served: ServedModel
    traffic_percentage: float


class ScoringTarget(NamedTuple):
    """What answers a request, and what gets a copy of it."""

    served: ServedModel
    shadow: Shadow | None = None


class Endpoint:
    """Shares the traffic among its models: by the hash of a header when that is there, else by lot.

    The hash is that of the endpoint's name and the header's value alone, so all processes agree, and a caller
    keeps its model as long as the percentages stay.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[Member],
        telemetry: Telemetry,
        *,
        config: EndpointConfig | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        """`config` is what it was made from, when that is more than one model."""
        self.name = name
        self.members = tuple(members)
        self.shadow = shadow
        self.config = config or EndpointConfig(
            served_entities=tuple(ServedEntity(member.served.uri, 100) for member in members)
        )
        self.sticky_header = self.config.sticky_header.lower().encode()
        self.requests = [0] * len(self.members)
        self._counted = list(self.requests)
        self._turn = LoopTick(self._count)
        self._counters = [telemetry.endpoint_requests.labels(name, member.served.label) for member in self.members]
        self._ends = list(accumulate(member.traffic_percentage for member in self.members))
        self._targets = [ScoringTarget(member.served, shadow) for member in self.members]
        self._only = len(self.members) == 1

    def __iter__(self) -> Iterator[ServedModel]:
        for member in self.members:
            yield member.served

    @property
    def shares(self) -> list[float]:
        """The percentages of the members that can answer; 0 for the others, whose share they take."""
        return [member.traffic_percentage if member.served.ready else 0 for member in self.members]

    @property
    def missing(self) -> list[ServedModel]:
        """The members that have nothing to answer with.

        One whose URI names nothing is not waited for where others take its share.
        """
        is_served = any(self.shares)
        return [served for served in self if not (served.ready or (is_served and served.names_nothing))]

    def choose(self, headers: Iterable[tuple[bytes, bytes]]) -> ScoringTarget:
        """What answers a request with `headers`. Called in the event loop."""
        number = 0 if self._only else self._drawn(headers)
        self.requests[number] += 1
        if not self._turn.noted:
            self._turn.note()
        return self._targets[number]

    def _count(self) -> None:
        for number, requests in enumerate(self.requests):
            if more := requests - self._counted[number]:
                self._counters[number].inc(more)
                self._counted[number] = requests

    def _drawn(self, headers: Iterable[tuple[bytes, bytes]]) -> int:
        point = random.random()  # noqa: S311 - shares traffic, guards nothing
        for key, value in headers:
            if key == self.sticky_header:
                digest = blake2b(value, digest_size=8, key=self.name.encode()[:64]).digest()
                point = int.from_bytes(digest, "big") / _KEY_SPACE
                break
        # The last one with traffic takes what rounding leaves.
        last = max(i for i, member in enumerate(self.members) if member.traffic_percentage)
        number = min(bisect_right(self._ends, point * 100), last)
        return number if self.members[number].served.ready else self._instead(number, point)

    def _instead(self, number: int, point: float) -> int:
        """Who answers for a member that has nothing to answer with: the others, by their shares."""
        ends = list(accumulate(self.shares))
        if not ends[-1]:
            return number
        last = max(i for i, share in enumerate(self.shares) if share)
        return min(bisect_right(ends, point * ends[-1]), last)
