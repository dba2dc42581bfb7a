"""`tiltyard status`: whether both services work, and what is served."""

import os
from typing import Any

import click

from tiltyard.cli.options import exit_with, option
from tiltyard.cli.printing import CONNECT_S, LOCAL_REGISTRY_URL, Show, showing
from tiltyard.cli.scoring.service import ScoringService, asking_serving
from tiltyard.errors import TiltyardError

_registry_url = option("--registry-url", help=f"Address of the registry; else {LOCAL_REGISTRY_URL}.")


@click.command()
@_registry_url
@asking_serving
@showing
def status(service: ScoringService, show: Show, registry_url: str | None) -> None:
    """Whether the registry and the scoring service work, and what is served. Exit status 1 if one does not."""
    from tiltyard.client.address import VARIABLES
    from tiltyard.client.address import registry_url as address_of

    known = registry_url or any(os.environ.get(name) for name in VARIABLES)
    url = address_of(registry_url) if known else LOCAL_REGISTRY_URL
    registry = _state(url)
    serving = _state(service.url)
    models: list[dict[str, Any]] = []
    if serving != "does not answer":
        try:
            models = service.ask("GET", "/api/tiltyard/v1/models")["models"]
        except (TiltyardError, click.ClickException, KeyError, TypeError):
            serving = "is not a Tiltyard scoring service"
    show.fields(
        {
            "registry": f"{url} {registry}",
            "serving": f"{service.url} {serving}",
            "serves": [_line(model) for model in models],
        }
    )
    if "works" not in (registry, serving) or registry != serving:
        exit_with(1)


def _state(url: str) -> str:
    import httpx2

    try:
        response = httpx2.get(f"{url}/health", timeout=httpx2.Timeout(5.0, connect=CONNECT_S))
    except httpx2.RequestError:
        return "does not answer"
    return "works" if response.status_code == 200 else "is not ready"


def _line(model: dict[str, Any]) -> str:
    what = f"{model['name']}/{model['version']}" if model["ready"] else "not loaded"
    return f"{model['served']}: {what}" + (f" ({model['problem']})" if model["problem"] else "")
