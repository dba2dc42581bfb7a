"""Litestar's route decorators with the protocol's habits: every success is HTTP 200, every body a wire Struct.

Handlers are written plainly: an argument that `DEPENDENCIES` names is injected, `data` is the body, what stands
in braces in the path comes from there, and anything else from the query string. One that returns None answers `{}`.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from types import ModuleType, NoneType
from typing import Annotated, Any, get_args, get_origin

from litestar import handlers
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from tiltyard.wire.tags import Empty
from tiltyard_registry.api.framework.binding import Body
from tiltyard_registry.api.framework.dependencies import DEPENDENCIES

Decorator = Callable[[Callable[..., Any]], HTTPRouteHandler]
_CONSTRAINTS = ("ge", "gt", "le", "lt", "min_length", "max_length")
_OWN_TYPES = (ASGIConnection, State)


def get(path: str | list[str], **options: Any) -> Decorator:
    """A route that reads."""
    return _route(handlers.get, path, options)


def post(path: str | list[str], **options: Any) -> Decorator:
    """A route that changes something, or asks with a body."""
    return _route(handlers.post, path, options)


def put(path: str | list[str], **options: Any) -> Decorator:
    """A route that sets something to what it is told, however often."""
    return _route(handlers.put, path, options)


def patch(path: str | list[str], **options: Any) -> Decorator:
    """A route that changes part of something."""
    return _route(handlers.patch, path, options)


def delete(path: str | list[str], **options: Any) -> Decorator:
    """A route that removes something; as upstream's do, it may have a body."""
    return _route(handlers.delete, path, options)


def handlers_of(*modules: ModuleType) -> list[ControllerRouterHandler]:
    """Every route that is written in one of the modules, in their order."""
    return [
        one
        for module in modules
        for one in vars(module).values()
        if isinstance(one, HTTPRouteHandler) and one.fn.__module__ == module.__name__
    ]


def _route(decorator: Callable[..., Decorator], path: str | list[str], options: dict[str, Any]) -> Decorator:
    def decorate(handler: Callable[..., Any]) -> HTTPRouteHandler:
        paths = [path] if isinstance(path, str) else path
        for name, annotation in handler.__annotations__.items():
            if name != "return":
                handler.__annotations__[name] = _marked(name, annotation, paths)
        handler = _empty(handler) if handler.__annotations__.get("return", ...) is None else handler
        # Source: the stock client treats 201 and 204 as errors, even with a good body.
        return decorator(path, **{"status_code": 200, "dto": Body, "return_dto": None, **options})(handler)

    return decorate


def _empty(handler: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[Empty]]:
    """A handler that has nothing to tell answers `{}`, as the protocol wants it."""
    handler.__annotations__["return"] = Empty

    @wraps(handler)
    async def answer(**arguments: Any) -> Empty:
        await handler(**arguments)
        return Empty()

    return answer


def _marked(name: str, annotation: Any, paths: list[str]) -> Any:
    """`annotation` with where its value comes from, as Litestar wants to be told."""
    marker: Any = FromPath
    if name == "data":
        marker = JSONBody
    elif name in DEPENDENCIES:
        marker = NamedDependency
    elif isinstance(kind := get_origin(annotation) or annotation, type) and issubclass(kind, _OWN_TYPES):
        return annotation
    elif not any(f"{{{name}:" in path for path in paths):
        return Annotated[annotation, _query_parameter(annotation)]
    return marker[annotation]


def _query_parameter(annotation: Any) -> QueryParameter:
    """The constraints of an annotation in Litestar's own words: of msgspec's it takes no notice beside a marker."""
    required = next((one for one in get_args(annotation) if one is not NoneType), annotation)
    annotated = annotation if get_origin(annotation) is Annotated else required
    given = {
        name: value
        for meta in getattr(annotated, "__metadata__", ())
        for name in _CONSTRAINTS
        if (value := getattr(meta, name, None)) is not None
    }
    return QueryParameter(**given)
