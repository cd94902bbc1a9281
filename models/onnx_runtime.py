"""A bundle's graph on ONNX Runtime, which runs everywhere; the only file that imports that library."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

# On a CPU a sum and a norm apart take a third of the time of this node for both.
_SLOWER = ["SkipLayerNormFusion"]


class OnnxRuntime:
    """See `GraphRuntime`. A batch of one, unpadded.

    Dynamic int8 quantisation scales activations over the whole input of the graph, so that in a
    batch an order's scores would depend on its neighbours; a batch of one has none.
    """

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        """Load verified bytes; raises whatever the runtime raises on a graph it cannot run.

        Args:
            threads: how many work on one text. One, where as many texts as there are cores run at a
                time: the whole then gets more done than many threads on one text.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.x64quantprecision", "1")  # no saturation without VNNI
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER
        )

    @property
    def name(self) -> str:
        return f"onnxruntime {onnxruntime.__version__}"

    def scores(self, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        return self._run("logits", ids, segments)

    def state(self, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        return self._run("state", ids, segments)

    def _run(self, output: str, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        tokens = np.array([ids], dtype=np.int64)
        inputs = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.array([segments], dtype=np.int64),
        }
        (found,) = self._session.run([output], inputs)
        row: NDArray[np.float32] = found[0]
        return row
