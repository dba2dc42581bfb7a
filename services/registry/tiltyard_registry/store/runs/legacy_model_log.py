"""What clients before MLflow 3 say of the models that a run logged: a JSON list in one tag of the run."""

import json
from typing import Any

from sqlalchemy import select

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.rules.access import Principal, Privilege
from tiltyard_registry.rules.entries import MAX_MACHINE_TAG_VALUE_CHARS, Entry, list_in
from tiltyard_registry.rules.keys import check_length
from tiltyard_registry.store.runs.runs import find_active_run, set_tag_rows
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.tables.runs import run_tags

HISTORY_TAG = "mlflow.log-model.history"

_REQUIRED = ("artifact_path", "flavors", "utc_time_created", "run_id")
_KEPT = (*_REQUIRED, "model_uuid")


async def log_model(session: Session, who: Principal, run_id: str, model_json: str) -> None:
    """Appends the model to the run's tag `mlflow.log-model.history`; the same model again changes nothing.

    Raises:
        ResourceDoesNotExist: there is no such run.
        InvalidParameterValue: the run is deleted, or the text is not a model, or the tag would be too long.

    Source: mlflow/server/handlers.py, `_log_model`; mlflow/models/model.py, `get_tags_dict`; tag v3.17.2.
    """
    model = _entry(model_json)
    await session.lock(f"models of run {run_id}")
    run = await find_active_run(session, who, Privilege.EDIT, run_id)
    stored = await session.scalar(
        select(run_tags.c.value).where(run_tags.c.run == run["id"], run_tags.c.key == HISTORY_TAG)
    )
    history = list_in(stored)
    if model in history:
        return
    value = check_length(json.dumps([*history, model]), MAX_MACHINE_TAG_VALUE_CHARS, HISTORY_TAG)
    await set_tag_rows(session, run["id"], [Entry(HISTORY_TAG, value)])


def _entry(model_json: str) -> dict[str, Any]:
    try:
        model = json.loads(model_json)
    except (ValueError, RecursionError):
        raise InvalidParameterValue(
            f"Malformed model info. \n {model_json[:300]} \n is not a valid JSON (parameter 'model_json')."
        ) from None
    if not isinstance(model, dict):
        raise InvalidParameterValue("Malformed model info: parameter 'model_json' must hold a JSON object.")
    missing = sorted(set(_REQUIRED) - model.keys())
    if missing:
        raise InvalidParameterValue(f"Model json is missing mandatory fields: {missing} (parameter 'model_json').")
    if not isinstance(model["flavors"], dict):
        raise InvalidParameterValue("Malformed model info: 'flavors' in parameter 'model_json' must be an object.")
    entry = {name: model[name] for name in _KEPT if name in model}
    # What configures a flavor may be long, and says nothing of which model it is.
    entry["flavors"] = {
        flavor: {key: value for key, value in options.items() if key != "config"}
        if isinstance(options, dict)
        else options
        for flavor, options in model["flavors"].items()
    }
    return entry
