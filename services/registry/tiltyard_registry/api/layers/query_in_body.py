"""A GET whose parameters are in a JSON body: they are read as if they stood in the query.

Source: mlflow/server/handlers.py, `_get_request_message`, which reads the body where the query is empty.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard.errors import InvalidParameterValue, TiltyardError
from tiltyard_registry.api.framework.binding import check_leaves, invalid, json_object
from tiltyard_registry.api.framework.errors import refuse
from tiltyard_registry.api.framework.raw import ClientGone, whole_body

# As much as a query may have, in the head of a request.
_MAX_BYTES = 64 * 1024
_READING = frozenset({"GET", "HEAD"})


class QueryInBody:
    """Moves the parameters in the body of a GET into its query, for every route at once.

    Beside a query MLflow drops the body. Here it may repeat what the query says; whatever else it says is refused,
    for a filter that is dropped gives wrong rows.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["method"] in _READING and _has_body(scope):
            try:
                body = await whole_body(receive, max_bytes=_MAX_BYTES)
                said = json_object(body)
                check_leaves(said, "")
                if given := list(_parameters(said)):
                    scope["query_string"] = _query(scope["query_string"], given)
            except ClientGone:
                return
            except TiltyardError as error:
                await refuse(error, scope, send)
                return
        await self._app(scope, receive, send)


def _has_body(scope: Any) -> bool:
    for name, value in scope["headers"]:
        if (name == b"content-length" and value != b"0") or name == b"transfer-encoding":
            return True
    return False


def _parameters(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict | list) or item is None:
                raise InvalidParameterValue(invalid(name, value, "Expected a text, a number or a list of these"))
            yield name, _text(item)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _query(query: bytes, given: list[tuple[str, str]]) -> bytes:
    if not query:
        return urlencode(given).encode()
    said = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    by_name: dict[str, list[str]] = {}
    for name, value in given:
        by_name.setdefault(name, []).append(value)
    for name, values in by_name.items():
        if said.get(name) != values:
            shown: Any = values[0] if len(values) == 1 else values
            raise InvalidParameterValue(
                invalid(name, shown, "It is in the body of a GET that has a query too, and differs from the query")
            )
    return query
