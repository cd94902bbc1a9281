"""A bundle's graph on ONNX Runtime, which runs everywhere; the only file that imports that library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

# One product of (4, 64) unsigned and (64, 16) signed bytes, as a graph.
_PRODUCT: Final = Path(__file__).resolve().parent / "reference" / "byte_product.onnx"

# On a CPU a sum and a norm apart take a third of the time of this node for both.
_SLOWER: Final = ["SkipLayerNormFusion"]
_EXACT: Final = "session.x64quantprecision"
_CPU: Final = ["CPUExecutionProvider"]


@cache
def multiplies_exactly() -> bool:
    """Whether the usual kernel for signed bytes is exact on this processor: one product is asked for.

    Without VNNI it adds pairs of products in 16 bits, which the largest do not fit. Where it is exact, the
    exact kernel would only take twice the time.
    """
    session = onnxruntime.InferenceSession(_PRODUCT.read_bytes(), providers=_CPU)
    largest = {"unsigned": np.full((4, 64), 255, np.uint8), "signed": np.full((64, 16), 127, np.int8)}
    (product,) = session.run(None, largest)
    return bool((product == 64 * 255 * 127).all())


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
        if not multiplies_exactly():
            options.add_session_config_entry(_EXACT, "1")
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=_CPU, disabled_optimizers=_SLOWER
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
