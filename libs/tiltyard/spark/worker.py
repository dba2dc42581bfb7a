"""What runs in a Python worker of an executor: one load per process, then batches.

The registry is never asked what an alias means here: the task brings one exact version, and for a small model its
files too. A large one is fetched once per host into the digest-keyed cache.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from tiltyard.models import ModelReference
    from tiltyard.pyfunc import PyFunc

_loaded: dict[str, "PyFunc"] = {}
_loading = threading.Lock()


@dataclass(frozen=True)
class Parcel:
    """One exact version on its way to the executors.

    `files` holds path and bytes of every file when the model is small enough to travel inside the task.
    """

    reference: "ModelReference"
    digest: str
    files: tuple[tuple[str, bytes], ...] | None
    accept_unverified: bool = False

    def unpack(self) -> Path:
        """The verified model directory on this host; fetched at most once per host."""
        from tiltyard.models import fetch
        from tiltyard.storage.cache import ModelCache
        from tiltyard.storage.manifest import Manifest, ManifestFile
        from tiltyard.storage.sources import CallSource

        if self.files is None:
            return fetch(self.reference, accept_unverified=self.accept_unverified)
        import hashlib

        contents = dict(self.files)
        manifest = Manifest.of(
            ManifestFile(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in self.files
        )
        source = CallSource(
            list_files=lambda: [(path, len(data)) for path, data in self.files or ()],
            read=lambda path: iter((contents[path],)),
        )
        return ModelCache().fetch(manifest, source)

    def load(self) -> "PyFunc":
        """The model, loaded once per process however many tasks ask for it."""
        from tiltyard import pyfunc

        with _loading:
            model = _loaded.get(self.digest)
            if model is None:
                model = _loaded[self.digest] = pyfunc.load(self.unpack())
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
