"""The OpenAPI document as a page to read: made by the server, without scripts, complete offline.

Path: /api/tiltyard/v1/docs; the document itself is /api/tiltyard/v1/openapi.json.
"""

from functools import cache
from html import escape
from typing import Any

from litestar import MediaType, Request, Response
from litestar.exceptions import NotFoundException

from tiltyard_registry.api.framework.routes import get

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dae1; }
details { border: 1px solid #d5dae1; border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } code, .method { font-family: ui-monospace, monospace; }
.method { display: inline-block; width: 4.5rem; font-weight: 700; color: #0b5cad; }
table { border-collapse: collapse; margin: .5rem 0; } th, td { text-align: left; padding: .15rem 1rem .15rem 0; }
@media (prefers-color-scheme: dark) { body { background: #14181e; color: #dde3ea; } .method { color: #7db7f5; } }
"""
_GROUPS = (
    ("/api/tiltyard/v1", "Tiltyard"),
    ("/api/2.0/mlflow/registered-models", "MLflow: registered models"),
    ("/api/2.0/mlflow/model-versions", "MLflow: model versions"),
    ("/api/2.0/mlflow-artifacts", "MLflow: artifacts"),
    ("/api/2.0/mlflow", "MLflow: tracking"),
    ("/api/2.1/unity-catalog", "Unity Catalog"),
    ("/", "Server"),
)


@get("/docs", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def show_documentation(request: Request[Any, Any, Any]) -> Response[str]:
    """Every endpoint with its parameters, body and answer."""
    headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(_page(request.app), media_type=MediaType.HTML, headers=headers)


async def only_the_document(request: Request[Any, Any, Any]) -> None:
    """Passes for the document; beside it the framework would answer unknown paths itself, as HTML."""
    if not request.scope["path"].endswith("/openapi.json"):
        raise NotFoundException


@cache
def _page(app: Any) -> str:
    document: dict[str, Any] = app.openapi_schema.to_schema()
    sections: dict[str, list[str]] = {title: [] for _, title in _GROUPS}
    for path in sorted(document["paths"]):
        title = next(title for prefix, title in _GROUPS if path.startswith(prefix))
        for method, operation in document["paths"][path].items():
            sections[title].append(_operation(path, method, operation))
    title = f"{document['info']['title']} {document['info']['version']}"
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(found)}" for name, found in sections.items() if found)
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_fields(schema)}</details>'
        for name, schema in sorted(document.get("components", {}).get("schemas", {}).items())
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{escape(document['info'].get('description', ''))}</p>"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>{body}<h2>Shapes</h2>{schemas}'
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = [
        (one["name"], one["in"], _type(one.get("schema", {})), "required" if one.get("required") else "")
        for one in operation.get("parameters", ())
    ]
    content = operation.get("requestBody", {}).get("content", {})
    rows += [("body", kind, _type(body.get("schema", {})), "") for kind, body in content.items()]
    answers = operation.get("responses", {}).get("200", {}).get("content", {})
    rows += [("answer", kind, _type(body.get("schema", {})), "") for kind, body in answers.items()]
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(place)}</td><td>{kind}</td><td>{required}</td></tr>"
        for name, place, kind, required in rows
    )
    about = escape(operation.get("description") or "")
    return (
        f'<details><summary><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code>'
        f"</summary><p>{about}</p><table>{cells}</table></details>"
    )


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{_type(field)}</td>"
        f"<td>{'required' if name in required else ''}</td></tr>"
        for name, field in schema.get("properties", {}).items()
    )
    return f"<p>{escape(schema.get('description') or '')}</p><table>{cells}</table>"


def _type(schema: dict[str, Any]) -> str:
    """A schema in one phrase, as HTML; a named one is a link to its shape."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "oneOf" in schema or "anyOf" in schema:
        return " or ".join(_type(one) for one in schema.get("oneOf") or schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    kind = schema.get("type", "anything")
    return escape(" or ".join(kind) if isinstance(kind, list) else str(kind))
