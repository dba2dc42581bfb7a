"""What the OpenAPI document says of the scoring protocols, whose raw routes the framework knows nothing about."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Example,
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Responses,
    Schema,
)

from tiltyard.pyfunc.payload.columnar.arrow import ARROW_STREAM

_ROWS = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}
_TENSORS = {"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1.0]}]}
_REFUSALS = {
    "400": "The body cannot be read, or does not fit the model's signature.",
    "404": "Nothing is served under this name.",
    "408": "The request did not arrive in time.",
    "413": "The body is over the limit, as it came or inflated.",
    "415": "The body is of a type or an encoding that is not read.",
    "429": "Too much is waiting, and nothing was done: try again after `Retry-After`.",
    "503": "The model is not loaded, or this process is stopping: try again after `Retry-After`.",
    "504": "The time of the request is over.",
}


class Document(JsonRenderPlugin):
    """The framework's document, with the paths of `scoring_paths`."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The whole document as JSON."""
        paths = openapi_schema["paths"]
        paths["/api/tiltyard/v1/endpoints/{name}"]["put"]["requestBody"] = _endpoint_body().to_schema()
        scoring = {path: item.to_schema() for path, item in scoring_paths()}
        return super().render(request, {**openapi_schema, "paths": {**paths, **scoring}})


def scoring_paths() -> Iterator[tuple[str, PathItem]]:
    """Every path of the scoring protocols."""
    invoke = _scoring("An MLflow scoring request in one of its five forms.", _bodies(), _answers())
    infer = _scoring(
        "An inference request, with binary tensors after `Inference-Header-Content-Length` bytes of JSON.",
        {kind: _media(_tensor_request(), _TENSORS) for kind in ("application/json", "application/octet-stream")},
        {kind: OpenAPIMediaType() for kind in ("application/json", "application/octet-stream")},
    )
    of_any = "Predictions of a version, alias or stage of a served model"
    for path, operation, summary, like in (
        ("/invocations", "invocations", "Predictions of the only or default model", invoke),
        ("/serving-endpoints/{name}/invocations", "endpointInvocations", "Predictions of a named endpoint", invoke),
        ("/model/{name}/{selector}/invocations", "modelInvocations", of_any, invoke),
        ("/v2/models/{name}/infer", "infer", "Inference by the Open Inference Protocol", infer),
        ("/v2/models/{name}/versions/{version}/infer", "inferVersion", "Inference with one version", infer),
        ("/v1/models/{name}:predict", "predict", "Predictions by KServe's V1 protocol", invoke),
    ):
        scoring = replace(like, summary=summary, operation_id=operation, parameters=_parameters(path))
        yield path, PathItem(post=scoring)
    for path, operation, summary in (
        ("/v1/models", "v1Models", "The names of the models"),
        ("/v1/models/{name}", "v1Model", "Whether a model is loaded"),
        ("/v2/models/stats", "v2Statistics", "What every model did"),
        ("/v2/models/{name}/stats", "v2ModelStatistics", "What a model did"),
        ("/v2/models/{name}/config", "v2ModelConfig", "The configuration of a model, as Triton has it"),
        ("/v2", "v2Server", "The server and its extensions"),
        ("/v2/health/live", "v2Live", "Whether the process answers"),
        ("/v2/health/ready", "v2Ready", "Whether every configured model is loaded"),
        ("/v2/models/{name}", "v2Model", "What a model takes and gives"),
        ("/v2/models/{name}/ready", "v2ModelReady", "Whether a model is loaded"),
        ("/v2/models/{name}/versions/{version}", "v2Version", "What a version takes and gives"),
        ("/v2/models/{name}/versions/{version}/ready", "v2VersionReady", "Whether a version is loaded"),
    ):
        answers: Responses = {"200": OpenAPIResponse(summary, content={"application/json": OpenAPIMediaType()})}
        about = Operation(
            ["Open Inference Protocol" if path.startswith("/v2") else "KServe V1"],
            summary,
            operation_id=operation,
            parameters=_parameters(path),
            responses=answers | _refusals("404", "503"),
        )
        yield path, PathItem(get=about)
    entries: Responses = {"200": OpenAPIResponse("The index", content={"application/json": OpenAPIMediaType()})}
    index = Operation(
        ["Open Inference Protocol"],
        "Every model and whether it is loaded",
        operation_id="v2Index",
        request_body=RequestBody({"application/json": _media(_object(ready=Schema(type=OpenAPIType.BOOLEAN)), {})}),
        responses=entries | _refusals("400"),
    )
    yield "/v2/repository/index", PathItem(post=index)


def _scoring(description: str, bodies: dict[str, OpenAPIMediaType], answers: dict[str, OpenAPIMediaType]) -> Operation:
    told = "The answer, with the version that gave it in `x-tiltyard-model`."
    good: Responses = {"200": OpenAPIResponse(told, content=answers)}
    return Operation(
        tags=["Scoring"],
        description=description,
        request_body=RequestBody(content=bodies, required=True),
        responses=good | _refusals(*_REFUSALS),
    )


def _refusals(*statuses: str) -> Responses:
    return {status: OpenAPIResponse(_REFUSALS[status]) for status in statuses}


def _parameters(path: str) -> list[Parameter | Reference]:
    return [Parameter(name, "path", schema=_text(), required=True) for name in re.findall(r"{(\w+)}", path)]


def _bodies() -> dict[str, OpenAPIMediaType]:
    table = _object(required=["data"], data=_list(), columns=_list(_text()), index=_list())
    rows = _list(_object())
    anything = Schema(description="Arrays by name, or one array.")
    params = _object()
    forms = [
        _object(required=["dataframe_split"], dataframe_split=table, params=params),
        _object(required=["dataframe_records"], dataframe_records=rows, params=params),
        _object(required=["instances"], instances=_list(), params=params),
        _object(required=["inputs"], inputs=anything, params=params),
    ]
    bodies = {"application/json": _media(Schema(one_of=forms), _ROWS)}
    return bodies | _raw("text/csv", "application/vnd.apache.parquet", ARROW_STREAM)


def _answers() -> dict[str, OpenAPIMediaType]:
    predictions = _object(required=["predictions"], predictions=Schema(description="What the model gave."))
    return {"application/json": OpenAPIMediaType(schema=predictions)} | _raw("text/csv", ARROW_STREAM)


def _raw(*kinds: str) -> dict[str, OpenAPIMediaType]:
    binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    return {kind: OpenAPIMediaType(schema=binary) for kind in kinds}


def _tensor_request() -> Schema:
    tensor = _object(
        required=["name", "shape", "datatype"],
        name=_text(),
        shape=_list(Schema(type=OpenAPIType.INTEGER)),
        datatype=_text(),
        parameters=_object(),
        data=_list(),
    )
    wanted = _object(required=["name"], name=_text(), parameters=_object())
    return _object(required=["inputs"], id=_text(), parameters=_object(), inputs=_list(tensor), outputs=_list(wanted))


def _endpoint_body() -> RequestBody:
    entity = _object(
        required=["model", "traffic_percentage"], model=_text(), traffic_percentage=Schema(type=OpenAPIType.NUMBER)
    )
    told = _object(
        required=["served_entities"],
        served_entities=_list(entity),
        sticky_header=_text(),
        shadow=_text(),
    )
    return RequestBody({"application/json": OpenAPIMediaType(schema=told)}, required=True)


def _media(schema: Schema, example: object) -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=schema, examples={"small": Example(value=example)})


def _text() -> Schema:
    return Schema(type=OpenAPIType.STRING)


def _list(items: Schema | None = None) -> Schema:
    return Schema(type=OpenAPIType.ARRAY, items=items or Schema())


def _object(required: list[str] | None = None, **properties: Schema) -> Schema:
    return Schema(type=OpenAPIType.OBJECT, properties=dict(properties) or None, required=required)
