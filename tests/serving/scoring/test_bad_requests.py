"""Whatever a caller sends, the answer is a prediction or a refusal, at once, and the server is as well as before."""

import json
from importlib.metadata import version
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fixtures.services import Service
from tests.serving.http_calls import score
from tests.serving.saved_models import IRIS, SETOSA
from tests.serving.scoring.bad_requests import Sent, bad_requests, send

ATTEMPTS = 5
MAX_GROWTH_BYTES = 300_000_000


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.bench)])
def test_bad_requests_are_refused_and_hurt_nobody(server: Service, count: int) -> None:
    """No 5xx, no hang, nothing internal in an answer; afterwards the server serves, no larger than before."""
    process = psutil.Process(server.pid)
    before_bytes = process.memory_info().rss
    outcomes: dict[str, int] = {}

    @settings(
        max_examples=count,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(sent=bad_requests())
    def check(sent: Sent) -> None:
        for _ in range(ATTEMPTS):
            answer = send(server.port, sent)
            # This server's requests have 3 s, in which a busy machine may do nothing of theirs.
            if answer is None or answer[0] != 504:
                break
        status = "none" if answer is None else str(answer[0])
        outcomes[status] = outcomes.get(status, 0) + 1
        if answer is None:
            assert not sent.is_whole
            return
        code, headers, body = answer
        assert code < 500, body
        for internal in (b"Traceback", b"site-packages", b"/tiltyard"):
            assert internal not in body or code == 200
        # As MLflow's, the version comes as the bare text, whatever its content type says.
        bare = sent.method == b"HEAD" or body == version("tiltyard").encode()
        if body.strip() and headers.get("content-type") == "application/json" and not bare:
            json.loads(body, parse_constant=lambda token: pytest.fail(f"{token} is not JSON"))

    check()
    print(f"\n{sum(outcomes.values()):,} bad requests: {dict(sorted(outcomes.items()))}")
    assert process.memory_info().rss - before_bytes < MAX_GROWTH_BYTES
    assert server.healthy()
    good = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}
    assert score(server.port, good).predictions == [0]


EXPENSIVE: dict[str, tuple[str, str, Any]] = {
    "one name for many columns": ("default", "text/csv", ",".join(["a"] * 50_000) + "\n"),
    "rows that share no keys": ("probabilities", "application/json", [{f"c{i}": 1} for i in range(20_000)]),
    "and no names in the signature": ("unnamed", "application/json", [{f"c{i}": 1} for i in range(20_000)]),
}


@pytest.mark.parametrize(("endpoint", "kind", "body"), EXPENSIVE.values(), ids=EXPENSIVE)
def test_small_bodies_that_stand_for_large_tables_are_refused(
    server: Service, endpoint: str, kind: str, body: Any
) -> None:
    """What would take seconds or gigabytes for its size is refused for that, and not because its time was over."""
    sent = body if isinstance(body, str) else {"dataframe_records": body}
    refusals = []
    for _ in range(ATTEMPTS):
        answer = score(server.port, sent, f"/serving-endpoints/{endpoint}/invocations", kind)
        refusals.append(answer.refusal())
        # This server's requests have 3 s, in which a busy machine may do nothing of theirs.
        if answer.status != 504:
            break
    assert refusals[-1] == (400, "BAD_REQUEST"), refusals
