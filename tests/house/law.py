"""The law of imports as data: the rooms of the house, and whom each may know."""

_GROUND = "errors names uri version_status"
_VOCABULARY = "errors pyfunc.json_text pyfunc.data_types pyfunc.schema"
_FLAVORS = f"{_VOCABULARY} uri java pyfunc.format pyfunc.own_code pyfunc.estimators pyfunc.enforcement"

# Each room and what it may import beside itself. The longest name that fits counts; a room stands for those below it.
_LIBS = {
    "errors": "",
    "version_status": "",
    "java": "errors",
    "telemetry": "",
    "wire": "",
    "names": "errors",
    "uri": "errors names",
    "client": "errors wire",
    "storage": "errors uri",
    "cache": "errors uri storage",
    "model_yaml": "errors",
    "environments": "errors uri model_yaml cache",
    "application": "",
    "server": "errors telemetry",
    "pyfunc.json_text": "",
    "pyfunc.data_types": "errors pyfunc.json_text",
    "pyfunc.schema": "errors pyfunc.data_types",
    "pyfunc.enforcement": _VOCABULARY,
    "pyfunc.format": f"{_VOCABULARY} uri model_yaml pyfunc.enforcement",
    "pyfunc.payload": f"{_VOCABULARY} uri pyfunc.enforcement pyfunc.format",
    "pyfunc.estimators": "errors",
    "pyfunc.acceleration": f"{_VOCABULARY} pyfunc.payload pyfunc.format pyfunc.estimators",
    "pyfunc.own_code": "errors uri pyfunc.format",
    "pyfunc.load_failures": f"{_VOCABULARY} environments pyfunc.format pyfunc.own_code",
    "pyfunc.flavors": _FLAVORS,
    "pyfunc.saving": f"{_FLAVORS} environments pyfunc.payload pyfunc.flavors",
    "pyfunc": "errors",
    "pyfunc.model": "errors pyfunc",
    "models": f"{_GROUND} wire client storage cache pyfunc",
    "spark.executors": f"{_GROUND} storage cache models pyfunc",
    "spark.scoring": f"{_GROUND} storage cache models pyfunc environments spark.executors",
    "spark.jobs": "errors java client wire.v1 models spark.executors spark.scoring",
    "spark.experiments": "errors client wire.mlflow",
    "spark": "",
    "cli": f"{_GROUND} java client models pyfunc server spark telemetry wire",
}

_STORE = "libs.errors rules search tables store.sql store.access"
_API = (
    "libs.errors libs.names libs.uri libs.wire libs.storage libs.server rules search store.artifacts store.events "
    "store.experiments store.models store.namespaces store.one_statement store.principals store.registration "
    "store.runs store.sql api.framework"
)

_REGISTRY = {
    "settings": "libs.errors libs.server",
    "logs": "libs.telemetry",
    "telemetry": "libs.telemetry logs",
    "tables": "",
    "rules": "libs.errors libs.names",
    "search": "libs.errors libs.names rules tables",
    "store.sql": "libs.errors libs.storage rules tables",
    "store.access": "libs.errors rules tables store.sql",
    "store.events": _STORE,
    "store.artifacts": f"libs.errors libs.uri libs.storage {_STORE}",
    "store.experiments": f"{_STORE} store.events",
    "store.runs": f"{_STORE} store.events store.experiments",
    "store.principals": f"{_STORE} libs.names store.events",
    "store.namespaces": f"{_STORE} libs.names store.events",
    "store.models": f"{_STORE} libs.names libs.uri store.events store.namespaces store.artifacts store.experiments",
    "store.registration": f"{_STORE} libs.version_status libs.names libs.uri libs.storage store.events "
    "store.artifacts store.experiments store.models",
    "store.one_statement": "libs.errors libs.names libs.uri rules tables store.sql store.access store.models "
    "store.runs",
    "store.migrations": "tables store.sql",
    "store.preflight": "libs.errors store.artifacts store.migrations store.sql",
    "store": "",
    "background": "libs.errors libs.version_status rules tables store",
    "gc": "libs.errors libs.names libs.uri libs.storage rules tables store",
    "importing": "libs.errors libs.version_status libs.names libs.uri libs.storage rules tables store",
    "auth": "libs.errors rules store.sql store.events store.principals",
    "api.framework": "libs.errors libs.server libs.wire auth rules store.sql store.events store.artifacts store.models "
    "store.migrations",
    "api.layers": "libs.errors libs.names libs.wire auth rules store.sql store.runs store.one_statement api.framework",
    "api": _API,
    "cli": "libs.cli libs.errors libs.storage libs.server settings rules store auth gc importing background",
    "app": "libs .",
}

_SERVING = {
    "settings": "libs.pyfunc libs.server",
    "batching": "libs.errors",
    "operations": "libs.errors libs.storage libs.telemetry libs.pyfunc.own_code",
    # Its worker runs without the server: what it imports must be there with numpy, pandas and msgspec alone.
    "isolation": "libs.errors libs.environments libs.pyfunc",
    "warm_up": "libs.errors libs.pyfunc",
    # What it forks loads and warms a model as the server does.
    "trial_load": "libs.errors libs.pyfunc libs.cache isolation warm_up",
    "models": "libs.errors libs.version_status libs.uri libs.cache libs.client libs.models libs.pyfunc libs.wire.v1 "
    "batching isolation operations settings trial_load warm_up",
    "endpoints": "libs.errors libs.names libs.uri libs.client libs.pyfunc.payload models operations settings warm_up",
    "auth": "models",
    "scoring.protocols": "libs.errors libs.pyfunc libs.server models operations scoring.formats scoring.replies "
    "scoring.request_head",
    "scoring": "libs.errors libs.pyfunc libs.server libs.telemetry auth batching models operations endpoints settings "
    "scoring.protocols",
    "api": "libs.errors libs.names libs.uri libs.pyfunc libs.server scoring endpoints models operations settings",
    "cli": "libs.cli libs.errors libs.server settings",
    "app": "libs .",
}


def _written_out(package: str, law: dict[str, str]) -> dict[str, frozenset[str]]:
    def full(name: str) -> str:
        if name == ".":
            return package
        first, _, rest = name.partition(".")
        return f"tiltyard.{rest}".rstrip(".") if first == "libs" else f"{package}.{name}"

    return {full(room): frozenset(map(full, allowed.split())) for room, allowed in law.items()}


LAW: dict[str, frozenset[str]] = {
    # The packages themselves: what they hand on, when it is asked for.
    "tiltyard": frozenset({"tiltyard"}),
    "tiltyard_registry": frozenset(),
    "tiltyard_serving": frozenset(),
    **_written_out("tiltyard", _LIBS),
    **_written_out("tiltyard_registry", _REGISTRY),
    **_written_out("tiltyard_serving", _SERVING),
    # These hand on what lies in their rooms.
    "tiltyard.pyfunc": frozenset({"tiltyard.errors", "tiltyard.pyfunc"}),
    "tiltyard.spark": frozenset({"tiltyard.spark"}),
}

# Packages of others that a room must do without, because it is to stay pure, light or safe.
FORBIDDEN: dict[str, set[str]] = {
    "tiltyard.wire": {"httpx2", "litestar", "sqlalchemy"},
    "tiltyard.server": {"litestar", "numpy"},
    "tiltyard_registry.rules": {"sqlalchemy", "litestar", "msgspec", "asyncio", "time", "datetime"},
    "tiltyard_registry.store": {"litestar"},
    "tiltyard_registry.search": {"litestar"},
    "tiltyard_registry": {"pickle", "cloudpickle", "numpy", "pandas", "sklearn", "skops", "mlflow", "pyspark"},
    # The server room alone knows what serves.
    "tiltyard_serving": {"uvicorn", "httptools"},
    "tiltyard_serving.isolation": {"litestar"},
}
