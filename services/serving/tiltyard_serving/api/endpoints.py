"""The named endpoints: what each serves, how its traffic is shared, and what its shadow says."""

from typing import Any

import msgspec
from litestar import Request, Response, delete, get, put
from litestar.datastructures import State
from litestar.params import FromPath

from tiltyard.errors import PayloadTooLarge
from tiltyard_serving.endpoints.agreement import Agreement
from tiltyard_serving.endpoints.config import read_request
from tiltyard_serving.endpoints.endpoint import Endpoint
from tiltyard_serving.endpoints.endpoint_changes import EndpointChanges
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.models.served_model import ServedModel

_BASE = "/api/tiltyard/v1/endpoints"
_MAX_BYTES = 256 * 1024


class ProcessReply(msgspec.Struct):
    """The process of an isolated model: `running` or `restarting`, how often that was, and how it last ended.

    `environment` is `server` when it has the packages of the server, else the digest of what it asked for.
    """

    state: str
    pid: int | None
    restarts: int
    last_end: str | None
    environment: str


class EntityState(msgspec.Struct):
    """One model of an endpoint. `requests` are those that this process gave to it.

    `current_percentage` is its share now: one that is not ready has none, and the others take it.
    """

    model: str
    traffic_percentage: float
    current_percentage: float
    ready: bool
    name: str | None
    version: str | None
    on_trial: bool
    problem: str | None
    requests: int
    process: ProcessReply | None


class ShadowState(msgspec.Struct):
    """The shadow of an endpoint, and how its answers compare, counted in this process."""

    model: str
    ready: bool
    version: str | None
    problem: str | None
    agreed: int
    disagreed: int
    failed: int
    dropped: int
    agreement_rate: float | None
    mean_seconds: float | None


class EndpointState(msgspec.Struct):
    """An endpoint, and the path at which it answers."""

    name: str
    path: str
    sticky_header: str
    served_entities: list[EntityState]
    shadow: ShadowState | None


class ChangedEndpoint(EndpointState, kw_only=True):
    """An endpoint after a change, and how many worker processes of the service have it."""

    agreement: Agreement


class EndedEndpoint(msgspec.Struct):
    agreement: Agreement


class EndpointsReply(msgspec.Struct):
    endpoints: list[EndpointState]


@get(_BASE, summary="The named endpoints", sync_to_thread=False)
def list_endpoints(state: State) -> EndpointsReply:
    """Every named endpoint with what it serves now."""
    endpoints: EndpointTable = state.endpoints
    return EndpointsReply([_state(endpoint) for endpoint in endpoints.by_name.values()])


@get(_BASE + "/{name:str}", summary="One endpoint", sync_to_thread=False)
def get_endpoint(state: State, name: FromPath[str]) -> EndpointState:
    """What the endpoint serves now."""
    endpoints: EndpointTable = state.endpoints
    return _state(endpoints.named(name))


@put(_BASE + "/{name:str}", summary="Makes or changes an endpoint")
async def put_endpoint(
    request: Request[Any, Any, State], state: State, name: FromPath[str]
) -> Response[ChangedEndpoint]:
    """Serves the configuration of the body once all its models are loaded; until then nothing changes.

    With several workers the answer is 200 once all have it, and 202 when some do not have it in time: they follow.
    """
    body = await request.body()
    if len(body) > _MAX_BYTES:
        raise PayloadTooLarge(f"The endpoint's configuration is over the fixed limit of {_MAX_BYTES} bytes.")
    changes: EndpointChanges = state.endpoint_changes
    agreement = await changes.put(name, read_request(body))
    changed = ChangedEndpoint(**msgspec.structs.asdict(_state(changes.table.named(name))), agreement=agreement)
    return Response(changed, status_code=_status(agreement))


@delete(_BASE + "/{name:str}", summary="Ends an endpoint", status_code=200)
async def delete_endpoint(state: State, name: FromPath[str]) -> Response[EndedEndpoint]:
    """Ends the endpoint; what is in flight is still answered. 200 and 202 as for a change."""
    changes: EndpointChanges = state.endpoint_changes
    agreement = await changes.remove(name)
    return Response(EndedEndpoint(agreement), status_code=_status(agreement))


def _status(agreement: Agreement) -> int:
    return 200 if agreement.changed == agreement.workers else 202


def _state(endpoint: Endpoint) -> EndpointState:
    shares = endpoint.shares
    total = sum(shares)
    return EndpointState(
        name=endpoint.name,
        path=f"/serving-endpoints/{endpoint.name}/invocations",
        sticky_header=endpoint.config.sticky_header,
        served_entities=[
            EntityState(
                model=member.served.label,
                traffic_percentage=member.traffic_percentage,
                current_percentage=round(100 * share / total, 6) if total else 0.0,
                ready=member.served.ready,
                name=None if member.served.slot.current is None else member.served.slot.current.name,
                version=_version(member.served),
                on_trial=member.served.trial is not None,
                problem=member.served.problem,
                requests=requests,
                process=_process(member.served),
            )
            for member, requests, share in zip(endpoint.members, endpoint.requests, shares, strict=True)
        ],
        shadow=_shadow(endpoint),
    )


def _shadow(endpoint: Endpoint) -> ShadowState | None:
    shadow = endpoint.shadow
    if shadow is None:
        return None
    counts = shadow.counts
    return ShadowState(
        model=shadow.served.label,
        ready=shadow.served.ready,
        version=_version(shadow.served),
        problem=shadow.served.problem,
        agreed=counts.agreed,
        disagreed=counts.disagreed,
        failed=counts.failed,
        dropped=counts.dropped,
        agreement_rate=counts.agreement_rate,
        mean_seconds=counts.mean_seconds,
    )


def _process(served: ServedModel) -> ProcessReply | None:
    current = served.slot.current
    state = None if current is None else current.process
    return None if state is None else ProcessReply(*state)


def _version(served: ServedModel) -> str | None:
    return None if served.slot.current is None else served.slot.current.version


HANDLERS = (list_endpoints, get_endpoint, put_endpoint, delete_endpoint)
