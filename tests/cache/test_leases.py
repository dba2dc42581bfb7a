"""What is fetched stays while somebody reads it, and no longer."""

import gc
import os
from pathlib import Path

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import tiltyard
from tests.cache.test_model_cache import other_model
from tiltyard.cache.cached_model import CachedModel
from tiltyard.cache.model_cache import ModelCache
from tiltyard.models import ModelReference, fetch, files
from tiltyard.storage.manifest import Manifest
from tiltyard.storage.sources import DirectorySource


def test_a_loaded_model_keeps_its_files_as_long_as_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a bounded cache what a model may read is not removed for another, and is once the model has gone."""
    saved, root = tmp_path / "saved", tmp_path / "cache"
    tiltyard.save_model(LinearRegression().fit(pd.DataFrame({"a": [0.0, 1.0]}), [0.0, 1.0]), saved)
    manifest = Manifest.of_source(DirectorySource(saved))
    monkeypatch.setenv("TILTYARD_CACHE_MAX_BYTES", "1")
    monkeypatch.setattr(files, "resolve", lambda uri, **_told: ModelReference(uri, str(saved), manifest=manifest))
    model = tiltyard.load_model("models:/m/1", cache_dir=root)
    entry = root / "models" / manifest.digest.removeprefix("sha256:")

    def pressed(number: int) -> bool:
        other = other_model(tmp_path, number)
        ModelCache(root).fetch(other, DirectorySource(tmp_path / f"model-{number}")).release()
        return entry.exists()

    assert pressed(1)
    assert model.predict(pd.DataFrame({"a": [2.0]})).tolist() == pytest.approx([2.0])
    del model
    gc.collect()
    assert not pressed(2)


def test_a_directory_that_is_named_has_nothing_to_release(tmp_path: Path) -> None:
    """It is what the caller named, before and after; what was fetched is a path to whoever takes one."""
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    with fetch(str(tmp_path)) as named:
        assert os.fspath(named) == str(named) == str(tmp_path)
        assert Path(named) / "MLmodel" == named / "MLmodel"
    named.release()
    assert (named / "MLmodel").exists()


def test_a_process_that_was_forked_gives_back_nothing_of_its_parents(tmp_path: Path) -> None:
    """The number of the lease's file may be another file's there; and the parent still reads."""
    lease = os.open(tmp_path / "lease", os.O_CREAT | os.O_RDWR)
    held = CachedModel(tmp_path, None, lease)
    if not (child := os.fork()):
        held.release()
        try:
            os.fstat(lease)
        except OSError:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.release()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lease)
