"""The HTTP client that Java brings along, as it comes: it wishes for HTTP/2 with its first request."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.services import Service
from tests.serving.models import IRIS, SETOSA, constant
from tiltyard.java import java_home

pyspark = pytest.importorskip("pyspark")
java_gateway = pytest.importorskip("py4j.java_gateway")

ROW = f'{{"dataframe_split": {{"columns": {IRIS}, "data": [{SETOSA}]}}}}'.replace("'", '"')


@pytest.fixture(scope="module")
def java() -> Iterator[Any]:
    """A Java virtual machine."""
    [jar] = Path(pyspark.__file__).parent.glob("jars/py4j-*.jar")
    port = java_gateway.launch_gateway(
        jarpath=str(jar), java_path=str(Path(java_home()) / "bin" / "java"), die_on_exit=True
    )
    gateway = java_gateway.JavaGateway(gateway_parameters=java_gateway.GatewayParameters(port=port))
    yield gateway
    gateway.shutdown()


@pytest.fixture
def post(java: Any) -> Callable[..., tuple[int, str]]:
    """Gives a function that POSTs JSON with a new client, and gives status and body."""
    jvm = java.jvm

    def method(of: str, name: str, *kinds: str) -> Any:
        # The classes behind these interfaces are the module's own, and closed to calls by their own names.
        types = java.new_array(jvm.java.lang.Class, len(kinds))
        for number, kind in enumerate(kinds):
            types[number] = jvm.java.lang.Class.forName(kind)
        return jvm.java.lang.Class.forName(of).getMethod(name, types)

    def call(of: str, name: str, target: Any, *arguments: tuple[str, Any]) -> Any:
        given = java.new_array(jvm.java.lang.Object, len(arguments))
        for number, (_, value) in enumerate(arguments):
            given[number] = value
        return method(of, name, *(kind for kind, _ in arguments)).invoke(target, given)

    http = "java.net.http."

    def post(url: str, body: str, *, expects: bool) -> tuple[int, str]:
        client = jvm.java.net.http.HttpClient.newHttpClient()
        publisher = jvm.java.net.http.HttpRequest.BodyPublishers.ofString(body)
        builder = jvm.java.net.http.HttpRequest.newBuilder(jvm.java.net.URI.create(url))
        kind = http + "HttpRequest$Builder"
        call(kind, "header", builder, ("java.lang.String", "Content-Type"), ("java.lang.String", "application/json"))
        call(kind, "POST", builder, (http + "HttpRequest$BodyPublisher", publisher))
        # A primitive boolean has no name that could be looked up.
        types = java.new_array(jvm.java.lang.Class, 1)
        types[0] = jvm.java.lang.Boolean.TYPE
        given = java.new_array(jvm.java.lang.Object, 1)
        given[0] = expects
        jvm.java.lang.Class.forName(kind).getMethod("expectContinue", types).invoke(builder, given)
        request = call(kind, "build", builder)
        text = jvm.java.net.http.HttpResponse.BodyHandlers.ofString()
        answer = call(
            http + "HttpClient",
            "send",
            client,
            (http + "HttpRequest", request),
            (http + "HttpResponse$BodyHandler", text),
        )
        kind = http + "HttpResponse"
        return call(kind, "statusCode", answer), call(kind, "body", answer)

    return post


@pytest.mark.parametrize("expects", [False, True], ids=["plain", "expecting 100"])
def test_javas_own_client_can_post(post: Callable[..., tuple[int, str]], expects: bool, tmp_path: Path) -> None:
    """Both services read the body of its first request, whether or not it waits to be asked for it."""
    constant(tmp_path / "model", 1)
    serving = Service("serving", "--model", str(tmp_path / "model"), log=tmp_path / "serving.log").start()
    registry = Service("registry", "--data-dir", str(tmp_path / "data"), log=tmp_path / "registry.log").start()
    try:
        assert post(f"{serving.url}/invocations", ROW, expects=expects) == (200, '{"predictions":[1]}')
        status, body = post(
            f"{registry.url}/api/2.0/mlflow/registered-models/create", '{"name": "from.java.m"}', expects=expects
        )
        assert (status, "from.java.m" in body) == (200, True)
    finally:
        serving.terminate()
        registry.terminate()
