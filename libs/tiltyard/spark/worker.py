"""What runs in a Python worker of an executor: one load per process, then batches.

The registry is never asked what an alias means here: the task brings one exact version, and for a small model its
files too. A large one is fetched once per host into the digest-keyed cache.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltyard.models import ModelReference, fetch
from tiltyard.storage.cache import ModelCache
from tiltyard.storage.manifest import Manifest
from tiltyard.storage.sources import CallSource

if TYPE_CHECKING:
    import pyarrow as pa

    from tiltyard.pyfunc import PyFunc

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

    def unpack(self) -> Path:
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
                model = _loaded[self.manifest.digest] = pyfunc.load(self.unpack())
            return model


class Scorer:
    """The body of the UDF: Arrow batches in, one Arrow column out.

    It is pickled into the task, so it holds plain values only.
    """

    def __init__(self, parcel: Parcel, result_type: Any, params: dict[str, Any] | None, time_zone: str) -> None:
        self.parcel = parcel
        self.result_type = result_type
        self.params = params
        self.time_zone = time_zone

    def __call__(self, batches: Iterator[Any]) -> Iterator["pa.Array"]:
        from pyspark.sql.pandas.types import to_arrow_type

        from tiltyard.spark.columns import Arguments, Predictions

        model = self.parcel.load()
        arguments = Arguments(model.signature.inputs if model.signature else None, time_zone=self.time_zone)
        predictions = Predictions(to_arrow_type(self.result_type))
        for batch in batches:
            arrays = batch if isinstance(batch, tuple) else (batch,)
            rows = len(arrays[0])
            if rows == 0:
                yield predictions.empty()
                continue
            output = model.predict(arguments.to_input(arrays), self.params)
            yield predictions.to_arrow(output, rows)
