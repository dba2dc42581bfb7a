"""A check of CatBoost's own files: every number that points somewhere points to what exists.

CatBoost checks the outline of the trees' FlatBuffer and follows the numbers in it without looking; most of what comes
behind the trees it does not check at all. And where memory for what a file asks for cannot be had, it ends the
process. So what it would do is looked at here first, and files that would lead it astray are refused.

Source: catboost/libs/model (flatbuffers/*.fbs, model.cpp, cpu/) of CatBoost 1.2.10.
"""

import numpy as np

from tiltyard.pyfunc.format.boosters.catboost.byte_stream import ByteStream
from tiltyard.pyfunc.format.boosters.catboost.collections import Computed, check_estimates
from tiltyard.pyfunc.format.boosters.catboost.ctrs import ClassCounts, check_ctrs, read_ctrs
from tiltyard.pyfunc.format.boosters.catboost.embeddings import read_embeddings
from tiltyard.pyfunc.format.boosters.catboost.features import check_features
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import damaged, root
from tiltyard.pyfunc.format.boosters.catboost.metadata import check_metadata
from tiltyard.pyfunc.format.boosters.catboost.texts import read_texts
from tiltyard.pyfunc.format.boosters.catboost.trees import check_trees

MAGIC = b"CBM1"
_FORMAT = b"FlabuffersModel_v1"
_CTRS, _TEXTS, _EMBEDDINGS = b"static_provider_v1", b"text_process_v2\0", b"embed_process_1\0"


def check_catboost(data: bytes) -> None:
    """Nothing, if the content of a file in CatBoost's format `cbm` is sound.

    Raises:
        InvalidParameterValue: it is of another kind, or a number in it is out of range.
    """
    stream = ByteStream(np.frombuffer(data, np.uint8))
    if stream.take(4).tobytes() != MAGIC:
        raise damaged("its file is of another kind")
    core = root(stream.take(stream.length()))
    if core.texts(0) != [_FORMAT]:
        raise damaged("its version is unknown")
    trees = core.table(1)
    features = check_features(trees)
    check_metadata(core.tables(2), check_trees(trees, features.splits))

    ctrs: ClassCounts = {}
    texts: Computed | None = None
    embeddings: Computed | None = None
    parts = core.all_texts(3)
    for part in parts:
        if part == _CTRS:
            ctrs = read_ctrs(stream)
        elif part == _TEXTS:
            texts = read_texts(stream)
        elif part == _EMBEDDINGS:
            embeddings = read_embeddings(stream)
        else:
            raise damaged("a part of it is unknown")
    if len(set(parts)) < len(parts):
        raise damaged("a part of it is there twice")
    check_ctrs(features.ctrs, ctrs)
    check_estimates(features, texts, embeddings)
