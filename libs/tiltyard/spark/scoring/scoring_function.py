"""A model version as a function of Spark columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import Name
from tiltyard.pyfunc.schema import Schema
from tiltyard.spark.executors.column_names import escaped
from tiltyard.spark.executors.scorer import Scorer, TableScorer
from tiltyard.spark.scoring.executor_python import executors_python

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession
    from pyspark.sql.types import DataType as SparkType

    from tiltyard.spark.executors.column_packing import Packing


class ScoringFunction:
    """A model version as a function of columns, for `select` and `withColumn`.

    Call it with one struct, whose fields are matched by name, or with columns in the order of the signature. With no
    argument it takes the signature's columns by name.

    Attributes:
        reference, model_uri, digest, run_id: which version scores.
        result_type: the type of a prediction.
        errors: what becomes of a bad row: 'fail', 'null', or 'column': then it gives a struct of `value` and `error`.
        inputs: the schema of the model's inputs, or None.
        requirements: the lines of the model's requirements file.
    """

    def __init__(
        self,
        spark: "SparkSession",
        scorer: Scorer,
        inputs: Schema | None,
        requirements: Sequence[str] = (),
        python: str | None = None,
    ) -> None:
        self._spark = spark
        self.scorer = scorer
        self._python = python
        self.parcel = scorer.parcel
        self.reference = self.parcel.reference
        self.digest = self.parcel.manifest.digest
        self.run_id = self.reference.run_id
        self.model_uri = self.reference.exact_uri
        self.result_type: SparkType = scorer.result_type
        self.errors = scorer.errors
        self.inputs = inputs
        self.requirements = list(requirements)

    def __call__(self, *columns: "Column | str") -> "Column":
        """The column of predictions.

        Raises:
            InvalidParameterValue: no argument was given and the signature names no required columns, or fewer
                columns than it requires.
        """
        if not columns:
            return self._of_signature
        if len(columns) == 1:
            return self._one(columns[0])
        required = self.inputs.required_names if self.inputs is not None else []
        if len(columns) < len(required):
            raise InvalidParameterValue(
                f"Model input is missing required columns. Expected {len(required)} required input columns "
                f"{required}, but the model received only {len(columns)} unnamed input columns."
            )
        if self.inputs is not None and self.inputs.columns:
            columns = columns[: len(self.inputs)]
        return self._many(*columns)

    def named(self, columns: Mapping[str, Name]) -> "Column":
        """The column of predictions from columns by their names, each with the model's own name for it."""
        scorer = replace(self.scorer, names=tuple(columns.values()))
        # Plain columns reach Python without the struct that Spark would have to build of them; and by their names,
        # for a Column object costs many calls of the JVM.
        over = _over_one if len(columns) == 1 else _over_many
        made: Column = self._udf(over(scorer))(*map(escaped, columns))
        return made

    def register(self, name: str) -> "Callable[..., Column]":
        """Has SQL know this function as `name`, in the session that it was made for."""
        with self.on_executors():
            registered: Callable[..., Column] = self._spark.udf.register(name, self._registrable)
        return registered

    def on_executors(self) -> AbstractContextManager[None]:
        """Python functions that are made within the block run where this one does: in its environment."""
        return executors_python(self._spark, self._python)

    def over_rows(
        self, inputs: Sequence[Name], kept: Sequence[int], names: Sequence[str], packing: "Packing"
    ) -> TableScorer:
        """The body of a `mapInArrow` over rows whose first columns are the model's `inputs`; see `TableScorer`."""
        return TableScorer(replace(self.scorer, names=tuple(inputs)), len(inputs), tuple(kept), tuple(names), packing)

    @cached_property
    def _one(self) -> "Callable[..., Column]":
        return self._udf(_over_one(self.scorer))

    @cached_property
    def _many(self) -> "Callable[..., Column]":
        return self._udf(_over_many(self.scorer))

    @cached_property
    def _of_signature(self) -> "Column":
        # Kept, so that asked for twice it is one expression, which Spark computes once.
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
        return self.named({str(name): name for name in self.inputs.names})

    # What follows is what Spark looks for in a function of its own, to register it for SQL.

    @property
    def func(self) -> Any:
        """The Python function that executors run.

        Raises:
            InvalidParameterValue: it needs an environment that `spark.udf.register` knows nothing of.
        """
        if self._python is not None:
            raise InvalidParameterValue(
                "With env='packed', spark.udf.register(name, function) would run the function in the executors' own "
                "environment. Register it with function.register(name)."
            )
        return self._registrable.func

    @property
    def returnType(self) -> Any:
        """The type of what it gives in a query."""
        from pyspark.sql.types import StringType, StructType

        if self.errors == "column":
            return StructType().add("value", self.result_type).add("error", StringType())
        return self.result_type

    @property
    def evalType(self) -> int:
        """How Spark runs it."""
        return int(self._registrable.evalType)

    @property
    def deterministic(self) -> bool:
        """Whether Spark may call it as often as it likes."""
        return True

    def asNondeterministic(self) -> "Callable[..., Column]":
        """The same as a function of Spark's own that is called just once a row, whatever Spark would rather do."""
        with self.on_executors():
            made: Callable[..., Column] = self._registrable.asNondeterministic()
        return made

    @cached_property
    def _registrable(self) -> Any:
        """As Spark's own function, for one column or many: how many there are shows when it is called."""
        from pyspark.sql.pandas.functions import arrow_udf

        return arrow_udf(_over_many(self.scorer), self.returnType)

    def _udf(self, body: Any) -> "Callable[..., Column]":
        from pyspark.sql.pandas.functions import arrow_udf

        made: Callable[..., Column] = arrow_udf(body, self.returnType)

        def call(*columns: "Column | str") -> "Column":
            # Spark notes the interpreter when the function is first called with columns.
            with self.on_executors():
                return made(*columns)

        return call

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
