"""Registered models, their tags and aliases. Paths: /api/2.0/mlflow/registered-models/…"""

from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody
from tiltyard.wire import registered_models as wire

from tiltyard_registry.api.replies import reply
from tiltyard_registry.api.routes import get, post
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.store import registered_models as store
from tiltyard_registry.store.session import Session


@post("/registered-models/create")
async def create_registered_model(
    session: NamedDependency[Session],
    who: NamedDependency[Principal],
    data: JSONBody[wire.CreateRegisteredModel],
) -> wire.RegisteredModelReply:
    """A new registered model."""
    row = await store.create_registered_model(session, who, data.name, description=data.description, tags=data.tags)
    return wire.RegisteredModelReply(reply(row, wire.RegisteredModel))


@get("/registered-models/get")
async def get_registered_model(
    read_session: NamedDependency[Session], who: NamedDependency[Principal], name: FromQuery[str]
) -> wire.RegisteredModelReply:
    """One registered model with its tags, aliases and the highest version of each stage."""
    row = await store.get_registered_model(read_session, who, name)
    return wire.RegisteredModelReply(reply(row, wire.RegisteredModel))


HANDLERS = [create_registered_model, get_registered_model]
