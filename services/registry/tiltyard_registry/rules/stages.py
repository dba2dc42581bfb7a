"""The stages of a model version, and what a transition does to the others."""

from tiltyard.errors import InvalidParameterValue

NONE, STAGING, PRODUCTION, ARCHIVED = STAGES = ("None", "Staging", "Production", "Archived")
_BY_LOWER = {stage.lower(): stage for stage in STAGES}
_ARCHIVING = (STAGING, PRODUCTION)


def canonical(stage: str) -> str:
    """The stage as it is shown. Source: mlflow/entities/model_registry/model_version_stages.py.

    Raises:
        InvalidParameterValue: no stage has this name in any case.
    """
    found = _BY_LOWER.get(stage.lower())
    if found is None:
        raise InvalidParameterValue(
            f"Invalid Model Version stage: {stage[:80]}. Value must be one of {', '.join(STAGES)}."
        )
    return found


def check_archiving(stage: str) -> None:
    """Passes a target stage that holds versions in service, so that the others in it can be archived.

    Raises:
        InvalidParameterValue: the stage is None or Archived.
    """
    if stage not in _ARCHIVING:
        raise InvalidParameterValue(
            f"Model version transition cannot archive existing model versions because '{stage}' is not an "
            f"Active stage. Valid stages are {' and '.join(_ARCHIVING)}"
        )
