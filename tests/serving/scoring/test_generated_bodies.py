"""Bodies that nobody would write: whatever comes, the answer is a prediction or a refusal, in valid JSON."""

import http.client
import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.services import Service
from tests.serving.http_calls import Answer
from tests.serving.saved_models import IRIS

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["YWI=", "2024-01-01", "1e400", "3", "nan", "true", 2**31, 2**63, 2**64, -1, 1e308])
)
NAMES = st.sampled_from(
    [*IRIS, "integer", "long", "float", "double", "boolean", "string", "binary", "datetime", "numbers", "obj", "a"]
) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
ROWS = st.lists(st.lists(SCALARS, max_size=4), max_size=4)
FORMS = st.one_of(
    st.fixed_dictionaries(
        {
            "dataframe_split": st.fixed_dictionaries(
                {"data": ROWS | VALUES},
                optional={"columns": st.lists(NAMES, max_size=4) | VALUES, "index": VALUES},
            )
        }
    ),
    st.fixed_dictionaries({"dataframe_records": st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=4)}),
    st.fixed_dictionaries({"instances": VALUES}),
    st.fixed_dictionaries({"inputs": st.dictionaries(NAMES, VALUES, max_size=4) | VALUES}),
    st.dictionaries(st.sampled_from(["inputs", "instances", "dataframe_split", "params", "x"]), VALUES),
    VALUES,
)
BODIES = st.builds(
    lambda form, params: {**form, "params": params} if isinstance(form, dict) else form,
    FORMS,
    VALUES,
).map(json.dumps) | st.binary(max_size=30).map(lambda raw: raw.decode("latin-1"))


@pytest.fixture(scope="module")
def connection(server: Service) -> Iterator[http.client.HTTPConnection]:
    """One connection that is kept for all of them."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    yield connection
    connection.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
@pytest.mark.parametrize("endpoint", ["default", "typed", "nested", "squares", "tensors", "params", "probabilities"])
def test_generated_bodies_are_answered_or_refused(
    connection: http.client.HTTPConnection, endpoint: str, body: str
) -> None:
    """A generated body is never the cause of a 5xx, of broken JSON or of a lost connection."""
    headers = {"Content-Type": "application/json"}
    connection.request("POST", f"/serving-endpoints/{endpoint}/invocations", body.encode(), headers)
    response = connection.getresponse()
    answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    if answer.status == 200:
        assert list(answer.json) == ["predictions"]
    else:
        assert answer.refusal()[0] == 400
        assert "Traceback" not in answer.json["message"]
