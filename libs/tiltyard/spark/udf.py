"""`spark_udf`: a model version as a Spark function, its version fixed when the function is made."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.models import ModelReference, fetch, resolve
from tiltyard.pyfunc.schema import Schema
from tiltyard.spark.result_types import parse_result_type, result_type_of
from tiltyard.spark.worker import Parcel, Scorer
from tiltyard.storage.manifest import Manifest
from tiltyard.storage.sources import DirectorySource
from tiltyard.uri import contain

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession
    from pyspark.sql.types import DataType as SparkType

    from tiltyard.pyfunc import PyFunc

logger = logging.getLogger("tiltyard.spark")

# A model up to this size travels inside the task; a larger one is fetched once per host.
MAX_CARRIED_BYTES = 8 * 1024 * 1024


class ScoringFunction:
    """A model version as a function of columns, for `select` and `withColumn`.

    Call it with one struct, whose fields are matched by name, or with columns in the order of the signature. With no
    argument it takes the signature's columns by name. `reference`, `model_uri` and `digest` tell which version
    scores.
    """

    def __init__(self, scorer: Scorer, inputs: Schema | None) -> None:
        from pyspark.sql.pandas.functions import arrow_udf

        self.parcel = scorer.parcel
        self.reference = self.parcel.reference
        self.digest = self.parcel.manifest.digest
        self.model_uri = self.reference.exact_uri
        self.result_type: SparkType = scorer.result_type
        self.inputs = inputs
        self._one: Callable[..., Column] = arrow_udf(_over_one(scorer), self.result_type)
        self._many: Callable[..., Column] = arrow_udf(_over_many(scorer), self.result_type)

    def __call__(self, *columns: "Column | str") -> "Column":
        """The column of predictions.

        Raises:
            InvalidParameterValue: no argument was given and the signature names no required columns, or fewer
                columns than it requires.
        """
        if not columns:
            columns = self._by_name()
        if len(columns) == 1:
            return self._one(columns[0])
        required = self.inputs.required_names if self.inputs is not None else []
        if len(columns) < len(required):
            raise InvalidParameterValue(
                f"Model input is missing required columns. Expected {len(required)} required input columns "
                f"{required}, but the model received only {len(columns)} unnamed input columns."
            )
        return self._many(*columns)

    def _by_name(self) -> "tuple[Column]":
        from pyspark.sql import functions

        if self.inputs is None or not self.inputs.is_named or not self.inputs.columns:
            raise InvalidParameterValue(
                "Attempting to apply udf on zero columns because no column names were specified as arguments or "
                "inferred from the model signature."
            )
        optional = [column.name for column in self.inputs.columns if not column.required]
        if optional:
            raise InvalidParameterValue(
                f"Cannot apply UDF without column names specified when the model signature contains optional columns "
                f"{optional}."
            )
        return (functions.struct(*(f"`{str(name).replace('`', '``')}`" for name in self.inputs.names)),)

    def __repr__(self) -> str:
        return f"<ScoringFunction {self.model_uri} -> {self.result_type.simpleString()}>"


def _over_one(scorer: Scorer) -> Any:
    import pyarrow as pa

    def predict(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        return scorer(batches)

    return predict


def _over_many(scorer: Scorer) -> Any:
    import pyarrow as pa

    def predict(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        return scorer(batches)

    return predict


def spark_udf(
    spark: "SparkSession",
    model_uri: str,
    result_type: "str | SparkType | None" = None,
    params: dict[str, Any] | None = None,
    *,
    registry_url: str | None = None,
    accept_unverified: bool = False,
) -> ScoringFunction:
    """A function that scores with one exact version of `model_uri`, resolved and verified here and now.

    Moving the alias later changes nothing for this function. Executors never ask the registry what an alias means.

    Args:
        spark: the session that will run it, classic or Connect.
        model_uri: as `tiltyard.load_model` takes it.
        result_type: DDL text or a Spark type; by default what the output signature implies.
        params: the model's inference params, the same for every row.
        registry_url: see `tiltyard.load_model`.
        accept_unverified: load a version for whose bytes no registry vouches.

    Raises:
        InvalidParameterValue: the result type or the params do not fit the model; nothing has been started.
        ModelIntegrityError: the files are not those that were registered.
    """
    from tiltyard import pyfunc

    reference = resolve(model_uri, registry_url=registry_url)
    directory = fetch(reference, accept_unverified=accept_unverified)
    model = pyfunc.load(directory)
    parsed_type = _result_type(model, result_type)
    checked = model.validate_params(params)
    parcel = _pack(reference, directory)
    time_zone = str(spark.conf.get("spark.sql.session.timeZone"))
    logger.info("Scoring with %s (%s)", reference.exact_uri, parcel.manifest.digest)
    inputs = model.signature.inputs if model.signature else None
    return ScoringFunction(Scorer(parcel, parsed_type, checked, time_zone), inputs)


def _result_type(model: "PyFunc", result_type: "str | SparkType | None") -> "SparkType":
    if result_type is not None:
        return parse_result_type(result_type)
    outputs = model.signature.outputs if model.signature else None
    if outputs is None:
        logger.warning("The model has no output signature; the result type is 'double'. Give result_type to change it.")
    return parse_result_type(result_type_of(outputs))


def _pack(reference: ModelReference, directory: Path) -> Parcel:
    """The model on its way: with its files if they are small, else with what an executor needs to fetch them."""
    manifest = reference.manifest or Manifest.of_source(DirectorySource(directory))
    # From here on the bytes are fixed, also for files that the registry does not vouch for.
    exact = replace(reference, manifest=manifest, digest=manifest.digest)
    if manifest.size_bytes > MAX_CARRIED_BYTES:
        return Parcel(exact, manifest, None)
    return Parcel(exact, manifest, {file.path: contain(directory, file.path).read_bytes() for file in manifest.files})
