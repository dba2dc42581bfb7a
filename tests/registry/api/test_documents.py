"""The OpenAPI document tells of every route, and its page can be read without a network or a script."""

import re
from html.parser import HTMLParser
from typing import Any

from litestar.routes import HTTPRoute

from tests.registry.api_app import OWN, Api

UNDOCUMENTED = {"/metrics", f"{OWN}/docs", f"{OWN}/openapi.json", f"{OWN}/{{path}}"}


def routes(api: Api) -> set[tuple[str, str]]:
    """Method and path template of every route that the application serves."""
    return {
        (method.lower(), route.path_format)
        for route in api.app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method not in ("OPTIONS", "HEAD") and route.path_format not in UNDOCUMENTED | {OWN}
    }


async def test_the_document_lists_every_route(embedded_api: Api) -> None:
    """No route is missing from the document, none is in it that is not served, and each says what it does."""
    document = await embedded_api.ok("GET", f"{OWN}/openapi.json")
    listed = {(method, path) for path, item in document["paths"].items() for method in item}
    assert listed == routes(embedded_api)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation.get("description", "").strip(), f"{method} {path} has no description"
            assert set(operation["responses"]) >= {"200"}, f"{method} {path}"


async def test_bodies_and_answers_have_shapes(embedded_api: Api) -> None:
    """Every reference in the document leads somewhere, and bodies and answers are named shapes."""
    document = await embedded_api.ok("GET", f"{OWN}/openapi.json")
    shapes = document["components"]["schemas"]
    for found in re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(document)):
        assert found in shapes
    alias = document["paths"]["/api/2.0/mlflow/registered-models/alias"]["post"]
    name = _reference(alias["requestBody"]["content"]["application/json"]["schema"])
    assert set(shapes[name]["properties"]) == {"name", "alias", "version"}
    assert {one["name"] for one in alias["parameters"]} == {"If-Match", "If-None-Match"}
    held = document["paths"][f"{OWN}/resolve"]["get"]["parameters"]
    assert {one["name"] for one in held} == {"uri", "wait", "If-None-Match"}
    search = document["paths"]["/api/2.0/mlflow/model-versions/search"]["get"]
    assert {one["name"] for one in search["parameters"]} == {"filter", "max_results", "order_by", "page_token"}


async def test_the_page_needs_no_script_and_no_network(embedded_api: Api) -> None:
    """The page shows every endpoint as plain HTML: no script, nothing loaded from anywhere, links that lead."""
    answer = await embedded_api.ask("GET", f"{OWN}/docs")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert "script-src" not in answer.headers["content-security-policy"]
    page = Page()
    page.feed(answer.text)
    assert not page.tags & {"script", "img", "link", "iframe", "object"}
    assert not [link for link in page.links if link.startswith(("http:", "https:", "//"))]
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    for _, path in routes(embedded_api):
        assert f"<code>{path}</code>" in answer.text


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes one element."""
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name == "id" and value:
                self.ids.add(value)


def _reference(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[-1]
