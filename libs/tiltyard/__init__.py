"""Tiltyard: a model registry, a scoring service and a Spark batch library.

    import tiltyard

    tiltyard.log_model(model, "tumor", registered_model_name="main.clinic.tumor", signature=signature)
    model = tiltyard.load_model("models:/main.clinic.tumor@champion")
    score = tiltyard.spark_udf(spark, "models:/main.clinic.tumor@champion")

Each name is imported when it is first used, so that `import tiltyard` loads no data library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiltyard.client import AsyncClient, Client
    from tiltyard.client.sync_client import delete_runs, restore_runs
    from tiltyard.models import fetch, load_model, log_model, register_model, resolve, save_model
    from tiltyard.pyfunc import infer_signature
    from tiltyard.spark import spark_udf

_PLACES = {
    "AsyncClient": "tiltyard.client",
    "Client": "tiltyard.client",
    "delete_runs": "tiltyard.client.sync_client",
    "fetch": "tiltyard.models",
    "infer_signature": "tiltyard.pyfunc",
    "load_model": "tiltyard.models",
    "log_model": "tiltyard.models",
    "register_model": "tiltyard.models",
    "resolve": "tiltyard.models",
    "restore_runs": "tiltyard.client.sync_client",
    "save_model": "tiltyard.models",
    "spark_udf": "tiltyard.spark",
}
_ROOMS = frozenset({"client", "errors", "models", "names", "pyfunc", "spark", "storage", "uri", "wire"})


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        value = getattr(import_module(_PLACES[name]), name)
    elif name in _ROOMS:
        value = import_module(f"tiltyard.{name}")
    elif name == "__version__":
        from importlib.metadata import version

        value = version("tiltyard")
    else:
        raise AttributeError(f"module 'tiltyard' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES, *_ROOMS, "__version__"})


__all__ = [
    "AsyncClient",
    "Client",
    "delete_runs",
    "fetch",
    "infer_signature",
    "load_model",
    "log_model",
    "register_model",
    "resolve",
    "restore_runs",
    "save_model",
    "spark_udf",
]
