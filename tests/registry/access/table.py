"""Every route of the registry: what it asks for, and a request that shows it.

A request names the objects of a scene in braces, and `{new}`, a name that nothing has.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.registry.access.scene import FILE
from tests.registry.api_app import MLFLOW, OWN, UNITY
from tiltyard_registry.rules.access import SEE, Kind, Privilege

P = Privilege
EXPERIMENT, MODEL, SCHEMA, CATALOG, ROOT = Kind.EXPERIMENT, Kind.MODEL, Kind.SCHEMA, Kind.CATALOG, Kind.ROOT
ARTIFACTS = "/api/2.0/mlflow-artifacts"


class Asked(NamedTuple):
    """One route and a request to it.

    Attributes:
        route: the method and the path as the application names it.
        kind: what it is about.
        wanted: the privilege that it takes.
        path: the path of the request, where it differs from the route's.
        query: what is asked for in the address.
        body: the JSON of the body, or its bytes.
        before: requests of an administrator that put the scene in order for each caller.
        is_list: whether it lists what the caller may see, so that nobody is refused.
        answers: the status of an answer to who may ask.
    """

    route: str
    kind: Kind
    wanted: Privilege
    path: str = ""
    query: Mapping[str, Any] = {}
    body: Any = None
    before: Sequence[tuple[str, str, Any]] = ()
    is_list: bool = False
    answers: int = 200


def prefixed(prefix: str) -> Callable[..., Asked]:
    """What makes rows of routes that begin so."""

    def asked(
        method: str, route: str, kind: Kind, wanted: Privilege, body: Any = None, *, path: str = "", **more: Any
    ) -> Asked:
        return Asked(f"{method} {prefix}{route}", kind, wanted, path=path and prefix + path, body=body, **more)

    return asked


mlflow, unity, own = map(prefixed, (MLFLOW, UNITY, OWN))


RUN = {"run_id": "{run}"}
OF_EXPERIMENT = {"experiment_id": "{experiment}"}
POINT = {"key": "loss", "value": 1.0, "timestamp": 2, "step": 2}
NAME = {"name": "{model}"}
VERSION = {"name": "{model}", "version": "2"}
TAG = {"key": "k", "value": "v"}
UNITY_MODEL = {"catalog_name": "{catalog}", "schema_name": "ml", "model_name": "iris"}

_SET_RUN_TAG = ("POST", f"{MLFLOW}/runs/set-tag", {**RUN, **TAG})
_RESTORE_RUN = ("POST", f"{MLFLOW}/runs/restore", RUN)
_DELETE_RUN = ("POST", f"{MLFLOW}/runs/delete", RUN)
_SET_ALIAS = ("PUT", f"{OWN}/models/{{model}}/aliases/champion", {"version": 2})
_SET_MODEL_TAG = ("POST", f"{MLFLOW}/registered-models/set-tag", {**NAME, **TAG})

_EXPERIMENTS = [
    mlflow("POST", "/experiments/create", ROOT, P.CREATE_EXPERIMENT, {"name": "{new}"}),
    mlflow("GET", "/experiments/get", EXPERIMENT, P.READ, query=OF_EXPERIMENT),
    mlflow("GET", "/experiments/get-by-name", EXPERIMENT, P.READ, query={"experiment_name": "{experiment_name}"}),
    mlflow("POST", "/experiments/search", EXPERIMENT, P.READ, {"max_results": 1000}, is_list=True),
    mlflow("GET", "/experiments/search", EXPERIMENT, P.READ, query={"max_results": 1000}, is_list=True),
    mlflow("POST", "/experiments/update", EXPERIMENT, P.MANAGE, {**OF_EXPERIMENT, "new_name": "{new}"}),
    mlflow("POST", "/experiments/set-experiment-tag", EXPERIMENT, P.EDIT, {**OF_EXPERIMENT, **TAG}),
    mlflow(
        "POST",
        "/experiments/delete-experiment-tag",
        EXPERIMENT,
        P.EDIT,
        {**OF_EXPERIMENT, "key": "k"},
        before=[("POST", f"{MLFLOW}/experiments/set-experiment-tag", {**OF_EXPERIMENT, **TAG})],
    ),
    mlflow(
        "POST",
        "/experiments/search-datasets",
        EXPERIMENT,
        P.READ,
        {"experiment_ids": ["{experiment}"]},
        is_list=True,
    ),
    mlflow("POST", "/runs/create", EXPERIMENT, P.EDIT, {**OF_EXPERIMENT, "start_time": 1}),
    mlflow("GET", "/runs/get", EXPERIMENT, P.READ, query=RUN),
    mlflow("POST", "/runs/search", EXPERIMENT, P.READ, {"experiment_ids": ["{experiment}"]}, is_list=True),
    mlflow("POST", "/runs/update", EXPERIMENT, P.EDIT, {**RUN, "status": "FINISHED"}),
    mlflow("POST", "/runs/log-batch", EXPERIMENT, P.EDIT, {**RUN, "metrics": [POINT], "params": [], "tags": []}),
    mlflow("POST", "/runs/log-metric", EXPERIMENT, P.EDIT, {**RUN, **POINT}),
    mlflow("POST", "/runs/log-parameter", EXPERIMENT, P.EDIT, {**RUN, "key": "depth", "value": "3"}),
    mlflow("POST", "/runs/set-tag", EXPERIMENT, P.EDIT, {**RUN, **TAG}),
    mlflow("POST", "/runs/delete-tag", EXPERIMENT, P.EDIT, {**RUN, "key": "k"}, before=[_SET_RUN_TAG]),
    mlflow("POST", "/runs/log-inputs", EXPERIMENT, P.EDIT, {**RUN, "models": [{"model_id": "{logged_model}"}]}),
    mlflow("POST", "/runs/outputs", EXPERIMENT, P.EDIT, {**RUN, "models": [{"model_id": "{logged_model}"}]}),
    mlflow(
        "POST",
        "/runs/log-model",
        EXPERIMENT,
        P.EDIT,
        {
            **RUN,
            "model_json": '{{"artifact_path": "m", "flavors": {{}}, "utc_time_created": "1", "run_id": "r"}}',
        },
    ),
    mlflow("POST", "/runs/delete", EXPERIMENT, P.EDIT, RUN),
    mlflow("POST", "/runs/restore", EXPERIMENT, P.EDIT, RUN, before=[_DELETE_RUN]),
    mlflow(
        "POST",
        "/databricks/runs/delete-runs",
        EXPERIMENT,
        P.EDIT,
        {**OF_EXPERIMENT, "max_timestamp_millis": 1},
        before=[_RESTORE_RUN],
    ),
    mlflow(
        "POST",
        "/databricks/runs/restore-runs",
        EXPERIMENT,
        P.EDIT,
        {**OF_EXPERIMENT, "min_timestamp_millis": 1},
        before=[_DELETE_RUN],
    ),
    own("DELETE", "/runs/{run_id}", EXPERIMENT, P.EDIT, path="/runs/{run}", before=[_RESTORE_RUN]),
    mlflow("GET", "/metrics/get-history", EXPERIMENT, P.READ, query={**RUN, "metric_key": "loss"}),
    mlflow("GET", "/metrics/get-history-bulk", EXPERIMENT, P.READ, query={**RUN, "metric_key": "loss"}, is_list=True),
    mlflow(
        "GET",
        "/metrics/get-history-bulk-interval",
        EXPERIMENT,
        P.READ,
        query={"run_ids": "{run}", "metric_key": "loss"},
        is_list=True,
    ),
    own("GET", "/runs.csv", EXPERIMENT, P.READ, query=OF_EXPERIMENT, is_list=True),
    mlflow("POST", "/logged-models", EXPERIMENT, P.EDIT, {**OF_EXPERIMENT, "name": "m"}),
    mlflow("POST", "/logged-models/search", EXPERIMENT, P.READ, {"experiment_ids": ["{experiment}"]}, is_list=True),
    mlflow("GET", "/logged-models/{model_id}", EXPERIMENT, P.READ, path="/logged-models/{logged_model}"),
    mlflow(
        "PATCH",
        "/logged-models/{model_id}",
        EXPERIMENT,
        P.EDIT,
        {"model_id": "{logged_model}", "status": "LOGGED_MODEL_READY"},
        path="/logged-models/{logged_model}",
    ),
    mlflow(
        "PATCH",
        "/logged-models/{model_id}/tags",
        EXPERIMENT,
        P.EDIT,
        {"tags": [TAG]},
        path="/logged-models/{logged_model}/tags",
    ),
    mlflow(
        "DELETE",
        "/logged-models/{model_id}/tags/{key}",
        EXPERIMENT,
        P.EDIT,
        path="/logged-models/{logged_model}/tags/k",
        before=[("PATCH", f"{MLFLOW}/logged-models/{{logged_model}}/tags", {"tags": [TAG]})],
    ),
    mlflow(
        "POST",
        "/logged-models/{model_id}/params",
        EXPERIMENT,
        P.EDIT,
        {"params": [TAG]},
        path="/logged-models/{logged_model}/params",
    ),
]
_FILES = [
    mlflow("GET", "/artifacts/list", EXPERIMENT, P.READ, query=RUN),
    mlflow(
        "GET",
        "/logged-models/{model_id}/artifacts/directories",
        EXPERIMENT,
        P.READ,
        path="/logged-models/{logged_model}/artifacts/directories",
    ),
    *(
        mlflow("POST", f"/artifacts/presigned-{what}-url", EXPERIMENT, P.READ, {**RUN, "path": FILE}, answers=400)
        for what in ("upload", "download")
    ),
    Asked("GET /get-artifact", EXPERIMENT, P.READ, query={**RUN, "path": FILE}),
    Asked(
        "GET /model-versions/get-artifact", MODEL, P.EXECUTE, query={"name": "{model}", "version": "1", "path": FILE}
    ),
    mlflow(
        "GET",
        "/logged-models/{model_id}/artifacts/files",
        EXPERIMENT,
        P.READ,
        path="/logged-models/{logged_model}/artifacts/files",
        query={"artifact_file_path": FILE},
    ),
    mlflow(
        "POST",
        "/upload-artifact",
        EXPERIMENT,
        P.EDIT,
        b"bytes",
        query={**RUN, "path": "up.txt"},
        before=[_RESTORE_RUN],
    ),
    *(
        Asked(f"{method} {ARTIFACTS}/artifacts", EXPERIMENT, wanted, body=body, before=before, path=f"{path}/{name}")
        for path in (
            f"{ARTIFACTS}/artifacts/{{experiment}}/{{run}}/artifacts",
            f"{ARTIFACTS}/artifacts/{{experiment}}/models/{{logged_model}}/artifacts",
        )
        for method, wanted, body, name, before in (
            ("GET", P.READ, None, FILE, ()),
            ("PUT", P.EDIT, b"bytes", "w.txt", ()),
            ("DELETE", P.EDIT, None, "w.txt", [("PUT", f"{path}/w.txt", b"bytes")]),
        )
    ),
    Asked(
        f"GET {ARTIFACTS}/artifacts",
        EXPERIMENT,
        P.READ,
        path=f"{ARTIFACTS}/artifacts",
        query={"path": "{experiment}/{run}/artifacts"},
    ),
]
_MODELS = [
    mlflow("POST", "/registered-models/create", SCHEMA, P.CREATE_MODEL, {"name": "{catalog}.ml.{new}"}),
    mlflow("GET", "/registered-models/get", MODEL, SEE, query=NAME),
    mlflow("GET", "/registered-models/search", MODEL, SEE, query={"max_results": 1000}, is_list=True),
    mlflow("PATCH", "/registered-models/update", MODEL, P.MANAGE, {**NAME, "description": "d"}),
    mlflow("POST", "/registered-models/get-latest-versions", MODEL, SEE, NAME),
    mlflow("GET", "/registered-models/get-latest-versions", MODEL, SEE, query=NAME),
    mlflow("POST", "/registered-models/set-tag", MODEL, P.APPLY_TAG, {**NAME, **TAG}),
    mlflow(
        "DELETE", "/registered-models/delete-tag", MODEL, P.APPLY_TAG, {**NAME, "key": "k"}, before=[_SET_MODEL_TAG]
    ),
    mlflow("POST", "/registered-models/alias", MODEL, P.SET_ALIAS, {**VERSION, "alias": "challenger"}),
    mlflow("DELETE", "/registered-models/alias", MODEL, P.SET_ALIAS, {**NAME, "alias": "challenger"}),
    mlflow("GET", "/registered-models/alias", MODEL, SEE, query={**NAME, "alias": "champion"}, before=[_SET_ALIAS]),
    mlflow("POST", "/model-versions/create", MODEL, P.CREATE_MODEL_VERSION, {**NAME, "source": "s3://elsewhere/3"}),
    mlflow("GET", "/model-versions/get", MODEL, SEE, query=VERSION),
    mlflow("GET", "/model-versions/search", MODEL, SEE, query={"filter": "name = '{model}'"}, is_list=True),
    mlflow("PATCH", "/model-versions/update", MODEL, P.CREATE_MODEL_VERSION, {**VERSION, "description": "d"}),
    mlflow("POST", "/model-versions/transition-stage", MODEL, P.TRANSITION_STAGE, {**VERSION, "stage": "Staging"}),
    mlflow("GET", "/model-versions/get-download-uri", MODEL, P.EXECUTE, query=VERSION),
    mlflow("POST", "/model-versions/set-tag", MODEL, P.APPLY_TAG, {**VERSION, **TAG}),
    mlflow("DELETE", "/model-versions/delete-tag", MODEL, P.APPLY_TAG, {**VERSION, "key": "k"}),
    own("GET", "/models/{name}/aliases", MODEL, SEE, path="/models/{model}/aliases"),
    own("GET", "/models/{name}/aliases/{alias}", MODEL, SEE, path="/models/{model}/aliases/champion"),
    own(
        "PUT",
        "/models/{name}/aliases/{alias}",
        MODEL,
        P.SET_ALIAS,
        {"version": 2},
        path="/models/{model}/aliases/shadow",
    ),
    own("DELETE", "/models/{name}/aliases/{alias}", MODEL, P.SET_ALIAS, path="/models/{model}/aliases/shadow"),
    own(
        "POST",
        "/models/{name}/aliases/{alias}/rollback",
        MODEL,
        P.SET_ALIAS,
        path="/models/{model}/aliases/champion/rollback",
    ),
    own("GET", "/models/{name}/aliases/{alias}/history", MODEL, SEE, path="/models/{model}/aliases/champion/history"),
    own(
        "POST",
        "/changes",
        MODEL,
        P.SET_ALIAS,
        {"changes": [{"action": "set_alias", **NAME, "alias": "shadow", "version": 2}]},
    ),
    own("GET", "/events", MODEL, SEE, query={"model": "{model}"}, is_list=True),
    own("GET", "/resolve", MODEL, P.EXECUTE, query={"uri": "models:/{model}/2"}, is_list=True),
    own(
        "GET",
        "/models/{name}/versions/{version}/manifest",
        MODEL,
        P.EXECUTE,
        path="/models/{model}/versions/1/manifest",
    ),
    own(
        "PUT",
        "/models/{name}/versions/{version}/batch-jobs/{job_id}",
        MODEL,
        P.EXECUTE,
        {"status": "RUNNING", "start_time": 1},
        path="/models/{model}/versions/2/batch-jobs/{new}",
    ),
    own(
        "GET",
        "/models/{name}/versions/{version}/batch-jobs",
        MODEL,
        SEE,
        path="/models/{model}/versions/2/batch-jobs",
    ),
]
_UNITY = [
    unity("POST", "/catalogs", ROOT, P.CREATE_CATALOG, {"name": "{new}"}),
    unity("GET", "/catalogs", CATALOG, SEE, query={"max_results": 1000}, is_list=True),
    unity("GET", "/catalogs/{name}", CATALOG, SEE, path="/catalogs/{catalog}"),
    unity("PATCH", "/catalogs/{name}", CATALOG, P.MANAGE, {"comment": "c"}, path="/catalogs/{catalog}"),
    unity("DELETE", "/catalogs/{name}", CATALOG, P.MANAGE, path="/catalogs/{catalog}", answers=409),
    unity("POST", "/schemas", CATALOG, P.CREATE_SCHEMA, {"catalog_name": "{catalog}", "name": "{new}"}),
    unity("GET", "/schemas", CATALOG, SEE, query={"catalog_name": "{catalog}"}),
    unity("GET", "/schemas/{full_name}", SCHEMA, SEE, path="/schemas/{schema}"),
    unity("PATCH", "/schemas/{full_name}", SCHEMA, P.MANAGE, {"comment": "c"}, path="/schemas/{schema}"),
    unity("DELETE", "/schemas/{full_name}", SCHEMA, P.MANAGE, path="/schemas/{schema}", answers=409),
    unity(
        "POST", "/models", SCHEMA, P.CREATE_MODEL, {"catalog_name": "{catalog}", "schema_name": "ml", "name": "{new}"}
    ),
    unity("GET", "/models", MODEL, SEE, query={"max_results": 1000}, is_list=True),
    unity("GET", "/models/{full_name}", MODEL, SEE, path="/models/{model}"),
    unity("PATCH", "/models/{full_name}", MODEL, P.MANAGE, {"comment": "c"}, path="/models/{model}"),
    unity("POST", "/models/versions", MODEL, P.CREATE_MODEL_VERSION, {**UNITY_MODEL, "source": "mem:x"}),
    unity("GET", "/models/{full_name}/versions", MODEL, SEE, path="/models/{model}/versions"),
    unity("GET", "/models/{full_name}/versions/{version}", MODEL, SEE, path="/models/{model}/versions/2"),
    unity(
        "PATCH",
        "/models/{full_name}/versions/{version}",
        MODEL,
        P.CREATE_MODEL_VERSION,
        {"comment": "c"},
        path="/models/{model}/versions/2",
    ),
    unity(
        "PATCH",
        "/models/{full_name}/versions/{version}/finalize",
        MODEL,
        P.CREATE_MODEL_VERSION,
        {},
        path="/models/{model}/versions/3/finalize",
        answers=400,
    ),
    unity(
        "POST",
        "/temporary-model-version-credentials",
        MODEL,
        P.EXECUTE,
        {**UNITY_MODEL, "version": 3, "operation": "READ_MODEL_VERSION"},
        answers=400,
    ),
]

TABLE = [*_EXPERIMENTS, *_FILES, *_MODELS, *_UNITY]
"""Requests that leave the scene as it was, or put it in order first."""

LAST = [
    mlflow("POST", "/registered-models/rename", MODEL, P.MANAGE, {**NAME, "new_name": "{catalog}.ml.{new}"}),
    mlflow("DELETE", "/registered-models/delete", MODEL, P.MANAGE, NAME),
    mlflow("DELETE", "/model-versions/delete", MODEL, P.MANAGE, VERSION),
    own("DELETE", "/models/{name}", MODEL, P.MANAGE, path="/models/{model}", query={"force": "true"}),
    own("DELETE", "/models/{name}/versions/{version}", MODEL, P.MANAGE, path="/models/{model}/versions/1"),
    mlflow("DELETE", "/logged-models/{model_id}", EXPERIMENT, P.EDIT, path="/logged-models/{logged_model}"),
    mlflow("POST", "/experiments/delete", EXPERIMENT, P.MANAGE, OF_EXPERIMENT),
    mlflow(
        "POST",
        "/experiments/restore",
        EXPERIMENT,
        P.MANAGE,
        OF_EXPERIMENT,
        before=[("POST", f"{MLFLOW}/experiments/delete", OF_EXPERIMENT)],
    ),
    unity("DELETE", "/models/{full_name}", MODEL, P.MANAGE, path="/models/{model}", query={"force": "true"}),
    unity("DELETE", "/models/{full_name}/versions/{version}", MODEL, P.MANAGE, path="/models/{model}/versions/2"),
]
"""Requests after which something of the scene is gone: each gets a scene of its own."""

PUBLIC = {
    "GET /": "what this is",
    "GET /health": "probes",
    "GET /livez": "probes",
    "GET /readyz": "probes",
    "GET /startupz": "probes",
    "GET /ping": "probes",
    "GET /version": "clients ask before they log in",
    "GET /metrics": "counts and durations",
    "GET /api/3.0/mlflow/server-info": "clients ask before they log in",
    f"GET {OWN}/docs": "the documentation",
    f"GET {OWN}/openapi.json": "the documentation",
    f"GET {OWN}": "that the documentation lies elsewhere",
    f"GET {OWN}/{{path}}": "that the documentation lies elsewhere",
}
"""Routes that anybody may ask, and what they say."""
