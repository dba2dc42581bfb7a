"""One scoring request whatever happens to it, and in whichever order."""

import ast
import asyncio
import inspect
import itertools
import json
from collections.abc import Callable
from pathlib import Path

from tests.serving.in_process import running
from tests.serving.saved_models import IRIS, SETOSA, constant
from tiltyard.errors import BadRequest
from tiltyard.server.direct import Reply
from tiltyard_serving.auth.callers import Caller, Everybody
from tiltyard_serving.endpoints.endpoint import ScoringTarget
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.scoring import call as module
from tiltyard_serving.scoring.call import Scoring, ScoringCall
from tiltyard_serving.scoring.in_flight import ClientDisconnected
from tiltyard_serving.scoring.protocols.invocations import INVOCATIONS
from tiltyard_serving.scoring.protocols.protocol import Decoded
from tiltyard_serving.scoring.request_head import RequestHead
from tiltyard_serving.scoring.targets import ScoringTargets
from tiltyard_serving.settings import ServingSettings

EVENTS = ("begin", "decode", "leave", "expire", "fail")
HEADERS = [(b"content-type", b"application/json")]


class Recorded(ScoringCall):
    """A call that keeps what it is answered with."""

    def __init__(self, scoring: Scoring, target: ScoringTarget, rows: int) -> None:
        super().__init__(scoring, INVOCATIONS, RequestHead("/invocations", HEADERS, Caller("somebody")))
        self.replies: list[Reply | None] = []
        self.is_begun = False
        self._asked = target
        self._reading: Callable[[], Decoded] | None = None
        self._content = json.dumps({"dataframe_split": {"columns": IRIS, "data": [SETOSA] * rows}}).encode()

    def reply(self, reply: Reply | None) -> None:
        """Keeps it."""
        self.replies.append(reply)

    def watch(self) -> None:
        """The events tell."""

    def happen(self, event: str) -> None:
        """What a way in does at an event: it begins once, and not what has ended."""
        if event == "begin" and not self.is_begun and not self.done():
            self.is_begun = True
            self._reading = self.begin(self._asked, self._content)
        elif event == "decode" and self._reading is not None:
            reading, self._reading = self._reading, None
            self.decoded(reading())
        elif event == "leave":
            self.end(ClientDisconnected())
        elif event == "expire":
            self.expire(1)
        elif event == "fail":
            self.end(BadRequest("It is no good."))

    @property
    def is_submitted(self) -> bool:
        """Whether the model will answer it."""
        return self.is_begun and self._reading is None


async def test_whatever_happens_a_call_is_answered_once_and_lets_go_of_its_model(tmp_path: Path) -> None:
    """All orders of what begins and ends a call, read at once or elsewhere: one reply, and the lease is given back."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"default={tmp_path / 'one'}",)) as app:
        scoring = Scoring(ServingSettings(), Telemetry(), Everybody(), None)
        targets = ScoringTargets(app.app.state.endpoints)
        [served] = app.app.state.endpoints.named("default")
        model = served.slot.current
        found = set()
        for rows, events in itertools.product((1, 1000), itertools.product(EVENTS, repeat=3)):
            call = Recorded(scoring, await targets.find("/invocations", HEADERS), rows)
            for event in events:
                call.happen(event)
            async with asyncio.timeout(30):
                while call.is_submitted and not call.done():
                    await asyncio.sleep(0)
            call.happen("leave")
            assert call.done()
            [reply] = call.replies
            found.add(None if reply is None else reply.status)
        assert found == {None, 200, 400}
        assert model.queued_requests == 0
        assert not model.closed
        served.slot.swap(None)
        assert model.closed


def test_a_call_waits_for_nothing() -> None:
    """Its file has no coroutine and no event loop: the ways in have."""
    tree = ast.parse(inspect.getsource(module))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert "asyncio" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
