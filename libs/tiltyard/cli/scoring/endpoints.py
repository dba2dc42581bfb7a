"""`tiltyard endpoints`: list, show, change and end the scoring service's named endpoints."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from tiltyard.cli.printing import Show, showing
from tiltyard.cli.scoring.service import ScoringService, asking_serving

_PATH = "/api/tiltyard/v1/endpoints"


@click.group()
def endpoints() -> None:
    """List, show, change and end the named endpoints of the scoring service."""


@endpoints.command("list")
@asking_serving
@showing
def list_endpoints(service: ScoringService, show: Show) -> None:
    """The endpoints and the versions that answer there."""
    rows = (
        (
            endpoint["name"],
            f"{service.url}/serving-endpoints/{endpoint['name']}/invocations",
            [_member(each) for each in endpoint["served_entities"]],
            _member(endpoint["shadow"]) if endpoint["shadow"] else None,
        )
        for endpoint in service.ask("GET", _PATH)["endpoints"]
    )
    show.rows(("name", "url", "serves", "shadow"), rows, empty="No named endpoints.")


@endpoints.command("show")
@click.argument("name")
@asking_serving
@showing
def show_endpoint(service: ScoringService, show: Show, name: str) -> None:
    """What the endpoint NAME serves, and how its models are."""
    found = service.ask("GET", f"{_PATH}/{quote(name, safe='')}")
    rows = [
        (
            each["model"],
            each["version"],
            each.get("traffic_percentage", "shadow"),
            "ready" if each["ready"] else "not ready",
            each["problem"],
        )
        for each in [*found["served_entities"], *([found["shadow"]] if found["shadow"] else [])]
    ]
    show.rows(("model", "version", "traffic", "state", "problem"), rows, empty="It serves nothing.")


@endpoints.command("put")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@asking_serving
@showing
def put_endpoint(service: ScoringService, show: Show, name: str, file: Path) -> None:
    """Make the endpoint NAME serve the configuration in FILE: YAML or JSON of one endpoint, or of `endpoints`."""
    changed = service.ask("PUT", f"{_PATH}/{quote(name, safe='')}", _configuration(file, name))
    agreement = changed["agreement"]
    show.done(
        f"'{name}' serves it now in {agreement['changed']} of {agreement['workers']} processes.",
        {"name": name, "agreement": agreement},
    )


@endpoints.command("delete")
@click.argument("name")
@asking_serving
@showing
def delete_endpoint(service: ScoringService, show: Show, name: str) -> None:
    """End the endpoint NAME. Requests in flight are still answered."""
    service.ask("DELETE", f"{_PATH}/{quote(name, safe='')}")
    show.done(f"The endpoint '{name}' has ended.", {"name": name})


def _configuration(file: Path, name: str) -> Any:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise click.BadParameter("it is not YAML.", param_hint="FILE") from None
    if isinstance(content, dict) and isinstance(content.get("endpoints"), dict):
        if name not in content["endpoints"]:
            raise click.BadParameter(f"it has no endpoint '{name}'.", param_hint="FILE")
        content = content["endpoints"][name]
    try:
        msgspec.json.encode(content)
    except (TypeError, ValueError, RecursionError):
        raise click.BadParameter("it holds what JSON cannot say.", param_hint="FILE") from None
    return content


def _member(entity: dict[str, Any]) -> str:
    version = entity["version"] or "not loaded"
    share = entity.get("traffic_percentage")
    return f"{entity['model']}: {version}" + ("" if share is None else f" ({share:g} %)")
