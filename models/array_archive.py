"""Arrays in one file of numpy's own form; the parts of a bundle that are arrays are written so."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from numpy.lib.format import write_array
from numpy.typing import NDArray


def archive(arrays: Mapping[str, NDArray[Any]], others: Mapping[str, bytes] | None = None) -> bytes:
    """What `numpy.load` reads; `others` are files beside the arrays.

    numpy's own archive carries the time of writing, so that no two were alike; here equal ones are.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as written:
        for name, array in arrays.items():
            content = io.BytesIO()
            write_array(content, array.copy(order="C"), allow_pickle=False)
            written.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())
        for name, other in (others or {}).items():
            written.writestr(zipfile.ZipInfo(name), other)
    return out.getvalue()
