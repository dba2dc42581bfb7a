"""Which model the path of a request names, in every protocol."""

from collections.abc import Callable
from functools import partial

from tiltyard.errors import EndpointNotFound, ResourceDoesNotExist
from tiltyard_serving.auth.callers import Headers
from tiltyard_serving.endpoints.endpoint import ScoringTarget
from tiltyard_serving.endpoints.endpoint_table import EndpointTable

# How the last word of a path of KServe's V1 protocol ends that asks for predictions.
PREDICT = ":predict"

Find = Callable[[Headers], ScoringTarget]


def words_of(path: str) -> list[str]:
    """The parts of a path."""
    return [word for word in path.split("/") if word]


class ScoringTargets:
    """Finds what answers a request."""

    def __init__(self, endpoints: EndpointTable) -> None:
        self._endpoints = endpoints

    def at_once(self, path: str) -> Find | None:
        """What finds the target of a request to an MLflow endpoint's path, by its headers; None for other paths.

        It raises ResourceDoesNotExist when there is no such endpoint.
        """
        match words_of(path):
            case ["invocations"]:
                return self._default
            case ["serving-endpoints", name, "invocations"]:
                return partial(self._named, name)
        return None

    async def find(self, path: str, headers: Headers) -> ScoringTarget:
        """The target of a request; a model that callers may name is loaded first.

        Once it is found nothing may be awaited until it is leased: what a new configuration closes then has no
        caller left.

        Raises:
            EndpointNotFound: no scoring request has this path.
            ResourceDoesNotExist: no such model is served.
            TemporarilyUnavailable: it is not loaded, and cannot be now.
        """
        if (found := self.at_once(path)) is not None:
            return found(headers)
        match words_of(path):
            case ["model", name, selector, "invocations"]:
                return ScoringTarget(await self._endpoints.of_model(name, selector))
            case ["v1", "models", name]:
                return await self.of_model([name.removesuffix(PREDICT)], headers)
            case ["v2", "models", *names, "infer"]:
                return await self.of_model(names, headers)
        raise EndpointNotFound("No endpoint has the path of this POST request.")

    async def of_model(self, names: list[str], headers: Headers | None = None) -> ScoringTarget:
        """The model of NAME or NAME/versions/VERSION: a named endpoint, or a registered model as `NAME@ALIAS`.

        Without `headers` it is asked about, and not asked: an endpoint's first model stands for all. Raises: as `find`.
        """
        endpoints = self._endpoints
        match names:
            case [name] if name in endpoints.by_name:
                endpoint = endpoints.named(name)
                return ScoringTarget(endpoint.members[0].served) if headers is None else endpoint.choose(headers)
            case [name] if "@" in name:
                model, _, alias = name.partition("@")
                return ScoringTarget(await endpoints.of_alias(model, alias))
            case [name, "versions", number] if name in endpoints.by_name:
                for served in endpoints.named(name):
                    if served.slot.current is not None and served.slot.current.version == number:
                        return ScoringTarget(served)
                raise ResourceDoesNotExist(f"The endpoint '{name}' serves no version '{number[:100]}'.")
            case [name, "versions", number]:
                return ScoringTarget(await endpoints.of_model(name, number))
            case [name]:
                raise ResourceDoesNotExist(f"There is no serving endpoint '{name[:300]}'.")
        raise EndpointNotFound("No endpoint has this path.")

    def _default(self, headers: Headers) -> ScoringTarget:
        return self._endpoints.default().choose(headers)

    def _named(self, name: str, headers: Headers) -> ScoringTarget:
        return self._endpoints.named(name).choose(headers)
