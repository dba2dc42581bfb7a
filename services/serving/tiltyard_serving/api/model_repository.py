"""Triton's extensions of the Open Inference Protocol: repository index, model configuration and statistics.

Source: the model repository, model configuration and statistics extensions of the Triton Inference Server,
https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""

from collections.abc import Iterable, Iterator

import msgspec
from litestar.types import Receive

from tiltyard.errors import BadRequest, EndpointNotFound
from tiltyard.names import parse_model_name
from tiltyard.pyfunc import Signature
from tiltyard.uri import AliasUri, RegisteredUri, VersionUri
from tiltyard_serving.endpoints.endpoint import Member
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.operations.metrics import Samples, Telemetry
from tiltyard_serving.scoring.bodies import read_body
from tiltyard_serving.scoring.protocols import infer_messages
from tiltyard_serving.scoring.protocols.tensors import BYTES
from tiltyard_serving.scoring.targets import ScoringTargets

EXTENSIONS = ("model_repository", "model_configuration", "statistics")

_NS = 1_000_000_000
_MAX_BYTES = 4096


class IndexRequest(msgspec.Struct):
    """`ready` leaves out what is not loaded."""

    ready: bool = False


class IndexEntry(msgspec.Struct, omit_defaults=True):
    """One model: READY, or UNAVAILABLE and why."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


class TensorConfig(msgspec.Struct):
    name: str
    data_type: str
    dims: list[int]


class ModelConfig(msgspec.Struct):
    """What a model takes and gives. `max_batch_size` is 0, as its dimensions tell of rows too."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class Duration(msgspec.Struct):
    """How often something was done, and nanoseconds of it together."""

    count: int
    ns: int


class InferenceStatistics(msgspec.Struct):
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(msgspec.Struct):
    """What a version did since the service started. `last_inference` is in milliseconds since 1970, 0 for never."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[None] = []


class StatisticsReply(msgspec.Struct):
    model_stats: list[ModelStatistics]


class ModelRepository:
    """Answers the extensions' requests."""

    def __init__(self, endpoints: EndpointTable, telemetry: Telemetry, targets: ScoringTargets) -> None:
        self._endpoints = endpoints
        self._telemetry = telemetry
        self._targets = targets

    @staticmethod
    def has(parts: list[str]) -> bool:
        """Whether the path of `parts` is one of the extensions'."""
        match parts:
            case ["repository", *_] | ["models", "stats"] | ["models", _, *_, "stats" | "config"]:
                return True
        return False

    async def content(self, parts: list[str], receive: Receive) -> object:
        """The answer to the request for the path of `parts`.

        Raises:
            BadRequest: the body is malformed, or asks for what is done in another way here.
            ResourceDoesNotExist, EndpointNotFound: there is no such model, no such path.
        """
        match parts:
            case ["repository", "index"]:
                return index(self._endpoints, read_index_request(await read_body(receive, _MAX_BYTES)))
            case ["repository", "models", _, "load" | "unload"]:
                raise BadRequest(
                    "Models are not loaded and unloaded by name here: start the service with --model, or change an "
                    "endpoint with PUT /api/tiltyard/v1/endpoints/NAME."
                )
            case ["models", "stats"]:
                return statistics(loaded_models(self._endpoints), self._telemetry.samples())
            case ["models", *names, "stats" | "config" as wanted]:
                target = await self._targets.of_model(names)
                with target.served.slot.lease() as model:
                    if wanted == "config":
                        return config(names[0], model.signature)
                    return statistics([(names[0], model)], self._telemetry.samples())
        raise EndpointNotFound("No endpoint has this path.")


def read_index_request(body: bytes) -> IndexRequest:
    """What of the index is asked for; an empty body asks for all of it. Raises: BadRequest: the body is malformed."""
    try:
        return msgspec.json.decode(body, type=IndexRequest) if body.strip() else IndexRequest()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise BadRequest("The index request cannot be read, expected {} or {'ready': true}.") from None


def index(endpoints: EndpointTable, request: IndexRequest) -> list[IndexEntry]:
    """Every model that this protocol can name, with the version that answers now."""
    entries = (_entry(name, member) for name, member in _members(endpoints))
    return [entry for entry in entries if entry.state == "READY" or not request.ready]


def config(name: str, signature: Signature | None) -> ModelConfig:
    """The configuration that a signature gives; without one there are no tensors to name."""
    about = infer_messages.about(name, "", signature)
    tensors = [
        [TensorConfig(tensor.name, _data_type(tensor.datatype), tensor.shape) for tensor in side]
        for side in (about.inputs, about.outputs)
    ]
    return ModelConfig(name, about.platform, "python", 0, *tensors)


def statistics(models: Iterable[tuple[str, LoadedModel]], samples: Samples) -> StatisticsReply:
    """What each model did, by what the service counts; with several workers, what all of them did."""
    return StatisticsReply([_statistics(name, model, samples) for name, model in models])


def loaded_models(endpoints: EndpointTable) -> Iterator[tuple[str, LoadedModel]]:
    """Every loaded model by the name that this protocol has for it."""
    for name, member in _members(endpoints):
        if (model := member.served.slot.current) is not None:
            yield name, model


def names_of(endpoints: EndpointTable) -> list[str]:
    """The name of every model that this protocol can name, each once."""
    return list(dict.fromkeys(name for name, _ in _members(endpoints)))


def _members(endpoints: EndpointTable) -> Iterator[tuple[str, Member]]:
    for name, endpoint in endpoints.by_name.items():
        for member in endpoint.members:
            yield name, member
    for endpoint in endpoints.unnamed:
        for member in endpoint.members:
            if isinstance(names := member.names, RegisteredUri):
                shown = parse_model_name(names.name).shown
                yield f"{shown}@{names.alias}" if isinstance(names, AliasUri) else shown, member


def _entry(name: str, member: Member) -> IndexEntry:
    model = member.served.slot.current
    if model is not None:
        return IndexEntry(name, model.version, "READY")
    version = str(member.names.version) if isinstance(member.names, VersionUri) else ""
    return IndexEntry(name, version, "UNAVAILABLE", member.served.problem or "it is being loaded")


def _data_type(datatype: str) -> str:
    return "TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}"


def _statistics(name: str, model: LoadedModel, samples: Samples) -> ModelStatistics:
    def of(metric: str, suffix: str, status: str | None = None) -> float:
        labels = (model.name, model.version) if status is None else (model.name, model.version, status)
        return samples.get((f"tiltyard_serving_{metric}_{suffix}", labels), 0.0)

    def duration(metric: str, *also: str) -> Duration:
        seconds = sum(of(each, "sum") for each in (metric, *also))
        return Duration(int(of(metric, "count")), round(seconds * _NS))

    answered = duration("request_seconds")
    failed_ns = round(of("failed_request_seconds", "total") * _NS)
    success = int(of("requests", "total", "200"))
    return ModelStatistics(
        name=name,
        version=model.version,
        last_inference=model.meter.last_answer_ms,
        inference_count=int(of("rows", "total")),
        execution_count=int(of("predict_seconds", "count")),
        inference_stats=InferenceStatistics(
            success=Duration(success, answered.ns - failed_ns),
            fail=Duration(answered.count - success, failed_ns),
            queue=duration("queue_seconds"),
            compute_input=duration("parse_seconds", "validate_seconds"),
            compute_infer=duration("predict_seconds"),
            compute_output=duration("encode_seconds"),
        ),
    )
