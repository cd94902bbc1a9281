"""A bundle's graph on OpenVINO, an optional extra; the only file that imports that library.

`models/self_test.py` tries it in a process of its own, and `models/fast_path.py` serves with it where it
was seen to be worth it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Importing the library tells its maker so over the network, unasked; without its reporter it cannot.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

_STEP: Final = 16  # tokens


class OpenvinoRuntime:
    """See `GraphRuntime`. A batch of one, padded by its own length alone, so it has no neighbours.

    Kernels are compiled for each length that is seen and kept: unrounded lengths filled gigabytes.
    """

    def __init__(self, graph: bytes, streams: int) -> None:
        """Load verified bytes; raises whatever the library raises on a graph it cannot run.

        Args:
            streams: how many texts run at a time, each on one thread; further callers wait.
        """
        core = openvino.Core()
        settings = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            # Left to itself it takes bf16 where the hardware has it, and scores differ.
            "INFERENCE_PRECISION_HINT": "f32",
            # Two servers on one machine would pin themselves to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = core.compile_model(core.read_model(graph), "CPU", settings)
        self._kept = threading.local()
        # The library looks for numpy at its first inference, and two threads that do so at the same moment
        # wait for each other for ever.
        self.scores([0], [0])

    @property
    def name(self) -> str:
        return f"openvino {version('openvino')}"

    def scores(self, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        return self._run("logits", ids, segments)

    def state(self, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        return self._run("state", ids, segments)

    def _run(self, output: str, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        if not hasattr(self._kept, "request"):
            self._kept.request = self._compiled.create_infer_request()  # serves one thread at a time
        padded = np.zeros((3, 1, -(-len(ids) // _STEP) * _STEP), dtype=np.int64)
        padded[:, 0, : len(ids)] = ids, np.ones_like(ids), segments
        names = ("input_ids", "attention_mask", "token_type_ids")
        answer = self._kept.request.infer(dict(zip(names, padded, strict=True)))
        row: NDArray[np.float32] = answer[output][0]
        return row
