"""`tiltyard up`, the whole of it: register, promote, score, and one Ctrl-C for everything."""

import json
import os
import signal
import urllib.error
import urllib.request

import psutil
import pytest

import tiltyard
from tests.fixtures.services import StartService
from tests.fixtures.waiting import PATIENCE_S, wait_until

MODEL = "main.tests.constant"


def constant(value: float):
    """A python function that predicts `value` for every row."""
    return lambda model_input: [value] * len(model_input)


def score(url: str, rows: int) -> tuple[list[float], str]:
    """The predictions for so many rows, and the version that answered; none as long as none is loaded."""
    body = json.dumps({"dataframe_split": {"columns": ["x"], "data": [[1.0]] * rows}}).encode()
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["predictions"], answer.headers["x-tiltyard-model"]
    except urllib.error.HTTPError as refused:
        assert refused.code == 503
        return [], "none"


@pytest.mark.parametrize("serving_workers", ["1", "2"])
def test_up_serves_what_is_promoted_and_ends_in_order(up: StartService, serving_workers: str) -> None:
    """A model registered after the start is served once its alias is set; a promotion follows; SIGINT ends all."""
    service = up("--model", f"models:/{MODEL}@champion", "--serving-workers", serving_workers)
    serving_url = f"http://127.0.0.1:{service.command[service.command.index('--serving-port') + 1]}"
    with tiltyard.Client(service.url) as client:
        for version in (1, 2):
            tiltyard.log_model(constant(version), "constant", registered_model_name=MODEL, client=client)
            client.set_alias(MODEL, "champion", version)
            if version == 1:
                service.wait_for_log("Ctrl-C stops both.")
            # Every worker follows by itself: of twenty answers in a row each gives some.
            wait_until(
                lambda served={f"{MODEL}/{version}"}: {score(serving_url, 1)[1] for _ in range(20)} == served,
                told=lambda: service.logs,
            )
            assert score(serving_url, 3)[0] == [version] * 3
    processes = psutil.Process(service.pid).children(recursive=True)
    os.kill(service.pid, signal.SIGINT)
    # Serving holds a blocking query of 20 s at the registry all the time; neither waits for it to run out.
    assert service.wait(18) == 0, service.logs
    assert psutil.wait_procs(processes, timeout=PATIENCE_S)[1] == []
