"""The HTTP client that Java brings along, as it comes: it wishes for HTTP/2 with its first request."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.databases import migrated_sqlite
from tests.fixtures.java import SHORT_LIFE
from tests.fixtures.services import Service
from tests.serving.saved_models import IRIS, SETOSA, constant
from tiltyard.java import java_home

pyspark = pytest.importorskip("pyspark")
java_gateway = pytest.importorskip("py4j.java_gateway")

ROW = f'{{"dataframe_split": {{"columns": {IRIS}, "data": [{SETOSA}]}}}}'.replace("'", '"')


@pytest.fixture(scope="module")
def java() -> Iterator[Any]:
    """A Java virtual machine."""
    [jar] = Path(pyspark.__file__).parent.glob("jars/py4j-*.jar")
    port = java_gateway.launch_gateway(
        jarpath=str(jar),
        java_path=str(Path(java_home()) / "bin" / "java"),
        javaopts=SHORT_LIFE["JAVA_TOOL_OPTIONS"].split(),
        die_on_exit=True,
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


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where a scoring service and a registry answer."""
    folder = tmp_path_factory.mktemp("services")
    constant(folder / "model", 1)
    migrated_sqlite(folder / "data/tiltyard.db")
    serving = Service("serving", "--model", str(folder / "model"), log=folder / "serving.log")
    registry = Service("registry", "--data-dir", str(folder / "data"), log=folder / "registry.log")
    yield serving.start().url, registry.start().url
    serving.terminate()
    registry.terminate()


@pytest.mark.parametrize("expects", [False, True], ids=["plain", "expecting-100"])
def test_javas_own_client_can_post(
    post: Callable[..., tuple[int, str]], services: tuple[str, str], expects: bool
) -> None:
    """Both services read the body of its first request, whether or not it waits to be asked for it."""
    serving, registry = services
    assert post(f"{serving}/invocations", ROW, expects=expects) == (200, '{"predictions":[1]}')
    name = f"from.java.expects-{expects}"
    status, body = post(f"{registry}/api/2.0/mlflow/registered-models/create", f'{{"name": "{name}"}}', expects=expects)
    assert (status, name in body) == (200, True)
