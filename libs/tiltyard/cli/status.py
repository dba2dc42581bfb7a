"""`tiltyard status`: whether both services work, and what is served."""

from typing import Any

import click

from tiltyard.cli.options import exit_with, option
from tiltyard.cli.printing import CONNECT_S, LOCAL_REGISTRY_URL, Show, registry_address, showing
from tiltyard.cli.scoring.service import ScoringService, asking_serving
from tiltyard.errors import TiltyardError

_registry_url = option("--registry-url", help=f"Address of the registry; else {LOCAL_REGISTRY_URL}.")


@click.command()
@_registry_url
@asking_serving
@showing
def status(service: ScoringService, show: Show, registry_url: str | None) -> None:
    """Whether the registry and the scoring service work, and what is served. Exit status 1 if one does not."""
    url = registry_address(registry_url)
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
