from __future__ import annotations

import io
import time
import zipfile

import numpy as np
import pytest

from models.array_archive import archive


def test_numpy_reads_what_was_written_and_others_lie_beside() -> None:
    arrays = {"square": np.arange(6, dtype=np.float32).reshape(2, 3).T, "bits": np.array([True, False])}
    content = archive(arrays, {"lines.txt": b"one"})
    with np.load(io.BytesIO(content), allow_pickle=False) as read:
        for name, array in arrays.items():
            assert np.array_equal(read[name], array)
            assert read[name].dtype == array.dtype
    with zipfile.ZipFile(io.BytesIO(content)) as stored:
        assert stored.read("lines.txt") == b"one"


def test_equal_arrays_give_equal_bytes_whenever_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    before = archive({"a": np.arange(3)})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    assert archive({"a": np.arange(3)}) == before
    assert archive({"a": np.arange(4)}) != before


def test_objects_are_refused() -> None:
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        archive({"a": np.array([{}], dtype=object)})
