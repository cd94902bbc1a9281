"""What every inference runtime promises; the classifier knows no more of one than this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class GraphRuntime(Protocol):
    """Runs a bundle's graph on one text at a time; safe to call from several threads at once."""

    @property
    def name(self) -> str:
        """What a person calls it, such as `onnxruntime 1.30.0`."""
        ...

    def scores(self, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        """Raw scores, one dimension: all label groups in the bundle's order, then the flags.

        They depend on this text alone. `ids` and `segments` are token and segment numbers of one length.
        """
        ...

    def state(self, ids: Sequence[int], segments: Sequence[int]) -> NDArray[np.float32]:
        """What the scores are made of, one dimension; raises where the graph does not give it."""
        ...
