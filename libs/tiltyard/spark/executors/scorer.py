"""What runs in a Python worker of an executor: one load per process, then batches.

The registry is never asked what an alias means here: the task brings one exact version, and for a small model its
files too. A large one is fetched once per host into the digest-keyed cache.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import finalize

from tiltyard.cache.cached_model import CachedModel
from tiltyard.cache.model_cache import ModelCache
from tiltyard.models import ModelReference, fetch
from tiltyard.storage.manifest import Manifest
from tiltyard.storage.sources import CallSource

if TYPE_CHECKING:
    import pyarrow as pa

    from tiltyard.pyfunc import PyFunc
    from tiltyard.pyfunc.data_types import Name
    from tiltyard.spark.executors.column_packing import Packing

# A prediction costs some tenths of a millisecond however few rows it has: fewer than these are not worth one.
USEFUL_ROWS = 8192

_loaded: dict[str, "PyFunc"] = {}
_loading = threading.Lock()


@dataclass(frozen=True)
class Parcel:
    """One exact version on its way to the executors.

    `files` has the bytes of every file, by path, when the model is small enough to travel inside the task.
    """

    reference: ModelReference
    manifest: Manifest
    files: dict[str, bytes] | None

    def unpack(self) -> CachedModel:
        """The verified model directory on this host; fetched at most once per host."""
        files = self.files
        if files is None:
            # The manifest travels with the task, so the bytes are checked wherever they come from.
            return fetch(self.reference)
        carried = CallSource(
            list_files=lambda: [(path, len(data)) for path, data in files.items()],
            read=lambda path: iter((files[path],)),
        )
        return ModelCache().fetch(self.manifest, carried)

    def load(self) -> "PyFunc":
        """The model, loaded once per process however many tasks ask for it."""
        from tiltyard import pyfunc

        with _loading:
            model = _loaded.get(self.manifest.digest)
            if model is None:
                files = self.unpack()
                model = pyfunc.load(files)
                # It is never unloaded, and may read them as long as it is there.
                finalize(model, files.release)
                # Batches are large, and compiled trees are for a few rows.
                model.take_shortcut(None, compiled=False)
                _loaded[self.manifest.digest] = model
            return model


@dataclass(frozen=True)
class Scorer:
    """The body of the UDF: Arrow batches in, one Arrow column out.

    It is pickled into the task, so it holds plain values only. `names` are those of the columns, when the call fixed
    them; else `ignore_case` says whether those of a struct are the signature's in any case. With `errors='null'` a bad
    row has no prediction; with 'column' the result is a struct of `value` and `error`.
    """

    parcel: Parcel
    result_type: Any
    params: dict[str, Any] | None
    time_zone: str
    errors: str = "fail"
    names: "tuple[Name, ...] | None" = None
    ignore_case: bool = True

    def __call__(self, batches: Iterator[Any]) -> Iterator["pa.Array"]:
        import pyarrow as pa

        answer = self.answering()
        for arrays in joined(batches):
            values, reasons = answer(arrays)
            if reasons is not None:
                values = pa.StructArray.from_arrays([values, reasons], names=["value", "error"])
            yield values

    def answering(self) -> "Callable[[Sequence[pa.Array]], tuple[pa.Array, pa.Array | None]]":
        """What gives the predictions of one batch of columns, and with `errors='column'` the reasons beside them."""
        from pyspark.sql.pandas.types import to_arrow_type

        from tiltyard.spark.executors.arrow_columns import Arguments
        from tiltyard.spark.executors.prediction_path import PredictionPath
        from tiltyard.spark.executors.predictions import Predictions
        from tiltyard.spark.executors.row_errors import RowErrors

        model = self.parcel.load()
        inputs = model.signature.inputs if model.signature else None
        outputs = model.signature.outputs if model.signature else None
        arguments = Arguments(inputs, time_zone=self.time_zone, names=self.names, ignore_case=self.ignore_case)
        route = PredictionPath(model, arguments, self.params, digest=self.parcel.manifest.digest)
        arrow_type = to_arrow_type(self.result_type)
        predictions = Predictions(arrow_type, time_zone=self.time_zone, outputs=outputs)

        def predict(arrays: "Sequence[pa.Array]") -> "pa.Array":
            return predictions.to_arrow(route(arrays), len(arrays[0]))

        if self.errors == "fail":
            return lambda arrays: (predict(arrays), None)
        salvage = RowErrors(predict, arrow_type, refuses_missing_alike=model.row_wise)
        if self.errors == "null":
            return lambda arrays: (salvage(arrays)[0], None)
        return salvage


@dataclass(frozen=True)
class TableScorer:
    """The body of `mapInArrow`: batches of whole rows in, some of their columns and the predictions out.

    Of the unpacked columns the first `input_count` are the model's. `kept` are the positions of those that go through,
    `names` those of all that come out.
    """

    scorer: Scorer
    input_count: int
    kept: tuple[int, ...]
    names: tuple[str, ...]
    packing: "Packing"

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        answer = self.scorer.answering()
        for arrived in joined(tuple(batch.columns) for batch in batches):
            arrays = self.packing.unpack(arrived)
            values, reasons = answer(arrays[: self.input_count])
            columns = [*(arrays[i] for i in self.kept), values, *([] if reasons is None else [reasons])]
            yield pa.RecordBatch.from_arrays(columns, names=list(self.names))


def joined(batches: Iterator[Any], useful_rows: int = USEFUL_ROWS) -> "Iterator[tuple[pa.Array, ...]]":
    """The batches as tuples of columns; those of few rows are put together until they have `useful_rows`."""
    import pyarrow as pa

    def join() -> tuple[pa.Array, ...]:
        return (
            pending[0] if len(pending) == 1 else tuple(pa.concat_arrays(parts) for parts in zip(*pending, strict=True))
        )

    pending: list[tuple[pa.Array, ...]] = []
    rows = 0
    for batch in batches:
        arrays = batch if isinstance(batch, tuple) else (batch,)
        if len(arrays[0]) == 0:
            continue
        pending.append(arrays)
        rows += len(arrays[0])
        if rows >= useful_rows:
            yield join()
            pending, rows = [], 0
    if pending:
        yield join()
