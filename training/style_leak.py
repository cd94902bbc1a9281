"""Whether a verdict follows a text's source instead of what it says; pure. `training/run.py` calls it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

_LIMIT = 0.75


@dataclass(frozen=True, slots=True)
class StyleLeak:
    """How well the model's score of reasonable texts tells their source: 0.5 not at all, 1.0 always.

    Attributes:
        authored: authored from real orders, all reasonable; a model that learned the source instead of
            the matter scores every authored text above every real one.
        regions: of the authored ones, the region that stands out most from the others, and how far.
    """

    authored: float | None
    regions: tuple[str, float] | None

    @property
    def passes(self) -> bool:
        """Whether neither is more than the gate allows."""
        worst = max(self.authored or 0.5, 0.5 if self.regions is None else self.regions[1])
        return worst <= _LIMIT


def style_leak(
    authored: NDArray[np.float64], regions: NDArray[np.str_], real: NDArray[np.float64]
) -> StyleLeak:
    """Measure it on reasonable orders that trained nothing.

    Args:
        authored, regions: (orders,), P(unreasonable) of authored reasonable orders, and their regions.
        real: (orders,), P(unreasonable) of real orders; may be empty.
    """
    source = None
    if len(real) and len(authored):
        truth = np.concatenate([np.ones(len(authored)), np.zeros(len(real))])
        source = _told(truth, np.concatenate([authored, real]))
    names = sorted(set(regions.tolist()))
    told = [(_told((regions == name).astype(float), authored), name) for name in names if len(names) > 1]
    return StyleLeak(source, (max(told)[1], max(told)[0]) if told else None)


def _told(truth: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """AUC in whichever direction it is larger: a source scored lower is told just as well."""
    area = float(roc_auc_score(truth, score))
    return max(area, 1.0 - area)
