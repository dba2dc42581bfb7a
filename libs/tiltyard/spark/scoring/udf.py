"""`spark_udf`: a model version as a Spark function, its version fixed when the function is made."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltyard.environments.requirements import requirements_file
from tiltyard.errors import InvalidParameterValue
from tiltyard.models import ModelReference, fetch, resolve
from tiltyard.spark.executors.column_names import ignores_case
from tiltyard.spark.executors.scorer import Parcel, Scorer
from tiltyard.spark.scoring.executor_python import packed_python
from tiltyard.spark.scoring.result_types import check_result_type, inferred_type, parse_result_type
from tiltyard.spark.scoring.scoring_function import ScoringFunction
from tiltyard.storage.manifest import Manifest
from tiltyard.storage.sources import DirectorySource
from tiltyard.uri import contain

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType as SparkType

    from tiltyard.pyfunc import PyFunc

logger = logging.getLogger("tiltyard.spark")

# A model up to this size travels inside the task; a larger one is fetched once per host.
MAX_CARRIED_BYTES = 8 * 1024 * 1024

ENVIRONMENTS = ("local", "packed")
ERRORS = ("fail", "null", "column")


def spark_udf(
    spark: "SparkSession",
    model_uri: str,
    result_type: "str | SparkType | None" = None,
    env_manager: str | None = None,
    params: dict[str, Any] | None = None,
    extra_env: dict[str, str] | None = None,
    prebuilt_env_uri: str | None = None,
    model_config: dict[str, Any] | str | None = None,
    *,
    env: str | None = None,
    errors: str = "fail",
    registry_url: str | None = None,
    accept_unverified: bool = False,
) -> ScoringFunction:
    """A function that scores with one exact version of `model_uri`, resolved and verified here and now.

    Moving the alias later changes nothing for this function. Executors never ask the registry what an alias means.

    Args:
        spark: the session that will run it, classic or Connect.
        model_uri: as `tiltyard.load_model` takes it.
        result_type: DDL text or a Spark type; by default what the output signature implies.
        env: 'local' is the executors' environment; 'packed' one that uv builds from the model's requirements, once
            per driver, and that goes to the executors through Spark's archives.
        env_manager: of `mlflow.pyfunc.spark_udf`; 'local' or nothing.
        params: the model's inference params, the same for every row.
        extra_env, prebuilt_env_uri, model_config: of `mlflow.pyfunc.spark_udf`; refused unless empty.
        errors: what becomes of a row that cannot be scored: 'fail' ends the job, 'null' gives a null prediction,
            'column' gives a struct of `value` and `error`, the reason.
        registry_url: see `tiltyard.load_model`.
        accept_unverified: load a version for whose bytes no registry vouches.

    Raises:
        InvalidParameterValue: the result type or the params do not fit the model; nothing has been started.
        ModelIntegrityError: the files are not those that were registered.

    Source: the order of the arguments is that of mlflow.pyfunc.spark_udf at v3.17.2.
    """
    from tiltyard import pyfunc

    _check_environment_arguments(env_manager, env)
    _refuse_unless_empty(extra_env=extra_env, prebuilt_env_uri=prebuilt_env_uri, model_config=model_config)
    if errors not in ERRORS:
        raise InvalidParameterValue(f"Invalid 'errors': '{errors}'. Expected one of {', '.join(ERRORS)}.")
    reference = resolve(model_uri, registry_url=registry_url)
    files = fetch(reference, accept_unverified=accept_unverified)
    model = pyfunc.load(files)
    parsed_type = _result_type(model, result_type)
    checked = model.validate_params(params)
    parcel = _pack(reference, files.path, model.metadata.run_id)
    time_zone = str(spark.conf.get("spark.sql.session.timeZone"))
    logger.info("Scoring with %s (%s)", reference.exact_uri, parcel.manifest.digest)
    inputs = model.signature.inputs if model.signature else None
    scorer = Scorer(parcel, parsed_type, checked, time_zone, errors, ignore_case=ignores_case(spark))
    python = packed_python(spark, files.path) if env == "packed" else None
    return ScoringFunction(spark, scorer, inputs, requirements_file(files.path), python)


def _check_environment_arguments(env_manager: str | None, env: str | None) -> None:
    for name, value, known in (("env_manager", env_manager, ENVIRONMENTS[:1]), ("env", env, ENVIRONMENTS)):
        if value is not None and value not in known:
            raise InvalidParameterValue(
                f"Invalid '{name}': '{value}'. Expected 'local', the Python environment of the executors, which "
                "tiltyard.spark.check_environment compares with the model's; or env='packed', one of the model's own."
            )


def _refuse_unless_empty(**named: Any) -> None:
    for name, value in named.items():
        if value:
            raise InvalidParameterValue(
                f"'{name}' is not supported. Set environment variables with spark.executorEnv.NAME, and save the "
                "model with the configuration that it needs."
            )


def _result_type(model: "PyFunc", result_type: "str | SparkType | None") -> "SparkType":
    outputs = model.signature.outputs if model.signature else None
    if result_type is not None:
        parsed = parse_result_type(result_type)
        check_result_type(parsed, outputs)
        return parsed
    if outputs is None:
        logger.warning("The model has no output signature; the result type is 'double'. Give result_type to change it.")
    return inferred_type(outputs)


def _pack(reference: ModelReference, directory: Path, run_id: str | None) -> Parcel:
    """The model on its way: with its files if they are small, else with what an executor needs to fetch them."""
    manifest = reference.manifest or Manifest.of_source(DirectorySource(directory))
    # From here on the bytes are fixed, also for files that the registry does not vouch for.
    exact = replace(reference, manifest=manifest, digest=manifest.digest, run_id=reference.run_id or run_id)
    if manifest.size_bytes > MAX_CARRIED_BYTES:
        return Parcel(exact, manifest, None)
    return Parcel(exact, manifest, {file.path: contain(directory, file.path).read_bytes() for file in manifest.files})
