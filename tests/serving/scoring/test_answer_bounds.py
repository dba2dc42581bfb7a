"""Answers are bounded: no output twice, and none over the limit in any protocol."""

from pathlib import Path

from tests.serving.in_process import running
from tests.serving.saved_models import IRIS, SETOSA, constant

INFER = "/v2/models/default/infer"
ROWS = {"dataframe_split": {"columns": IRIS, "data": [SETOSA]}}
TENSORS = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.5]} for name in IRIS]


async def test_an_output_is_written_once(tmp_path: Path) -> None:
    """An output that is named again and again is refused: a small request could ask for a very large answer."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"default={tmp_path / 'one'}",)) as app:
        body = {"inputs": TENSORS, "outputs": [{"name": "predictions"}] * 2}
        answer = await app.request("POST", INFER, body)
        assert answer.status == 400
        assert answer.json == {"error": "The inference request names an output twice."}
        body["outputs"].pop()
        assert (await app.request("POST", INFER, body)).status == 200


async def test_an_answer_over_the_limit_is_refused(tmp_path: Path) -> None:
    """In each protocol and format it is 413, naming limit and value."""
    constant(tmp_path / "one", 1)
    async with running(models=(f"default={tmp_path / 'one'}",), max_answer_bytes=5) as app:
        for accept in ("application/json", "text/csv"):
            answer = await app.request("POST", "/invocations", ROWS, [("accept", accept)])
            assert answer.status == 413
            assert "'max_answer_bytes' of 5" in answer.json["message"]
        answer = await app.request("POST", INFER, {"inputs": TENSORS})
        assert answer.status == 413
        assert "'max_answer_bytes' of 5" in answer.json["error"]
