from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_HEAPS_OF_MANY_THREADS = """
import ctypes, sys, threading
from serving.heaps import few_heaps
if sys.argv[1] == "few":
    assert few_heaps()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(12)

def work():
    together.wait()
    for _ in range(200):
        library.malloc(ctypes.c_size_t(4000))
    together.wait()

threads = [threading.Thread(target=work) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
out = ctypes.c_void_p(library.fdopen(1, b"w"))
library.malloc_info(0, out)
library.fflush(out)
"""


def heaps(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _HEAPS_OF_MANY_THREADS, how], capture_output=True, text=True, check=True
    )
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries share memory otherwise")
def test_threads_share_two_heaps() -> None:
    assert heaps("few") <= 2 < heaps("usual")
