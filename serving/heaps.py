"""How many heaps the C library keeps for threads; `python -m serving run` sets it before it starts any."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_ARENA_MAX: Final = -8  # glibc's malloc.h
_HEAPS: Final = 2


def few_heaps() -> bool:
    """Two for all threads; whether the C library took it, as glibc does and others need not.

    By itself glibc gives every thread its own, up to eight a core, and what is freed in one serves no other:
    under load that was a sixth of the service's memory.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    return hasattr(library, "mallopt") and library.mallopt(_M_ARENA_MAX, _HEAPS) == 1
