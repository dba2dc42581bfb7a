"""The way past the framework for scoring requests, whose routing would cost as much as their decoding."""

import asyncio
from collections.abc import Mapping

from litestar.types import ASGIApp, Receive, Scope, Send

from tiltyard_serving.api.inference_protocols import V1, V2
from tiltyard_serving.endpoints.endpoint_table import EndpointTable
from tiltyard_serving.operations.metrics import Telemetry
from tiltyard_serving.scoring.asgi import AsgiScoring
from tiltyard_serving.scoring.call import Scoring
from tiltyard_serving.scoring.protocols.invocations import INVOCATIONS, KSERVE_V1
from tiltyard_serving.scoring.protocols.open_inference import OPEN_INFERENCE
from tiltyard_serving.scoring.targets import ScoringTargets, words_of

_INVOCATIONS = "invocations"


class ScoringRoutes:
    """Gives requests for the paths of scoring to what answers there, and all others to the framework."""

    def __init__(self, framework: ASGIApp, apps: Mapping[str, ASGIApp]) -> None:
        """`apps` are found by the first part of a path."""
        self._framework = framework
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        words = words_of(scope["path"])
        app = self._apps.get(words[0]) if words else None
        if app is None or (words[0] == _INVOCATIONS and len(words) > 1):
            app = self._framework
        await app(scope, receive, send)


def scoring_apps(
    scoring: Scoring,
    targets: ScoringTargets,
    endpoints: EndpointTable,
    telemetry: Telemetry,
    draining: asyncio.Event,
) -> dict[str, ASGIApp]:
    """What answers scoring requests, by the first part of their paths."""
    invocations = AsgiScoring(scoring, targets, INVOCATIONS)
    return {
        _INVOCATIONS: invocations,
        "serving-endpoints": invocations,
        "model": invocations,
        "v1": V1(AsgiScoring(scoring, targets, KSERVE_V1), targets, endpoints),
        "v2": V2(AsgiScoring(scoring, targets, OPEN_INFERENCE), targets, endpoints, telemetry, draining),
    }
