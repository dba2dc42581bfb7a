"""Litestar's route decorators with the protocol's habits: every success is HTTP 200, every body a wire Struct."""

from functools import partial

from litestar import handlers

from tiltyard_registry.api.binding import Body

# Source: the stock client treats 201 and 204 as errors, even with a good body.
get = partial(handlers.get, status_code=200)
post = partial(handlers.post, status_code=200, dto=Body, return_dto=None)
put = partial(handlers.put, status_code=200, dto=Body, return_dto=None)
patch = partial(handlers.patch, status_code=200, dto=Body, return_dto=None)
delete = partial(handlers.delete, status_code=200, dto=Body, return_dto=None)
